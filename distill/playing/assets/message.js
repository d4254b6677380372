// What is said about a mistake. Runs inside Gradio's HTML component, which passes `element`, `props` and `watch`.
// A message is only ever set as text, never as markup.
let last = 0;

function say() {
  if (!props.value) return;
  const { turn, text } = JSON.parse(props.value);
  if (turn < last) return;  // another control was used since
  last = turn;
  element.querySelector("p").textContent = text;
}

watch("value", say);
say();
