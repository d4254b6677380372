// The page of a run: its sounds, and the map of its recordings, whose points play.

const players = [...document.querySelectorAll(".card")].map((card) => new Player(card));

async function playPoint(index) {
  const trouble = document.querySelector(".map .trouble");
  const choice = document.getElementById("point");
  if (!data.points[index]) {
    trouble.textContent = "This recording is on the map without a sound.";
    return;
  }
  choice.value = String(index);
  const attempt = {};
  wanted = attempt;
  try {
    const buffer = await decode(audio(), data.points[index], "MP3");
    const there = await running();
    if (wanted !== attempt) return; // another sound was asked for
    current?.pause();
    const point = new AudioBufferSourceNode(there, { buffer });
    const played = { playing: true, pause: () => point.stop() };
    current = played;
    point.connect(there.destination);
    point.start();
    const playing = `Playing ${choice.selectedOptions[0].textContent}`;
    trouble.textContent = playing;
    point.addEventListener("ended", () => {
      played.playing = false;
      rest();
      if (trouble.textContent === playing) trouble.textContent = "";
    });
  } catch (error) {
    trouble.textContent = `It cannot be played: ${error.message}.`;
  }
}

document.querySelector('[data-figure="map"]')?.addEventListener("drawn", ({ target }) => {
  target.on("plotly_click", (event) => playPoint(event.points[0].customdata));
});

document.getElementById("play-point")?.addEventListener("click", () => playPoint(Number(document.getElementById("point").value)));

// A page of a run that is training reloads, unless a sound plays.

if (data.refresh) {
  setInterval(() => !players.some((player) => player.playing) && location.reload(), 1000 * data.refresh);
}
