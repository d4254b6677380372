"""The combined loss: its terms, their options, and how they are weighted and summed."""
