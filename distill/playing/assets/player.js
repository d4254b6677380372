// The player of the current sound. Runs inside Gradio's HTML component, which passes `element`, `props`, `trigger` and
// `watch`. A sound plays as soon as it is there. Its waveform is drawn, and other controls are set, once it plays.
// Titles are only ever set as text, never as markup.
const HEIGHT = 60;
const audio = element.querySelector("audio");
const picture = element.querySelector("svg");
const curve = picture.querySelector("path"), cursor = picture.querySelector("line");

function draw(peaks) {
  const outline = (sign) => peaks.map((peak, index) => [index + 0.5, HEIGHT * (1 + sign * peak) / 2]);
  const points = [...outline(-1), ...outline(1).reverse()].map(([x, y]) => `${x} ${y.toFixed(1)}`);
  picture.setAttribute("viewBox", `0 0 ${peaks.length} ${HEIGHT}`);
  curve.setAttribute("d", `M${points.join("L")}Z`);
}

function follow() {
  const x = picture.viewBox.baseVal.width * audio.currentTime / (audio.duration || 1);
  cursor.setAttribute("x1", x);
  cursor.setAttribute("x2", x);
  if (!audio.paused) requestAnimationFrame(follow);
}

let last = 0;

async function play() {
  if (!props.value) return;
  const { title, turn, sound, peaks } = JSON.parse(props.value);
  if (turn < last) return trigger("play");  // it was overtaken, but what came with it is to be set again
  last = turn;
  element.querySelector("h2").textContent = title;
  audio.src = sound;
  await audio.play().catch(() => {});  // replaced by the next sound, or a browser without audio
  if (audio.getAttribute("src") !== sound) return;
  element.querySelector(".player").classList.remove("empty");
  draw(peaks);
  trigger("play");
}

for (const event of ["play", "seeked", "ended"]) audio.addEventListener(event, follow);
picture.addEventListener("click", (event) => {
  if (!audio.src) return;
  const box = picture.getBoundingClientRect();
  audio.currentTime = audio.duration * (event.clientX - box.left) / box.width;
  audio.play();
});
watch("value", play);
play();
