// The map of the recordings. Runs inside Gradio's HTML component, which passes `element`, `props`, `trigger` and
// `watch`. Names of recordings are only ever set as text, never as markup.
const WIDTH = 640, HEIGHT = 400, EDGE = 26;
const SPACE = "http://www.w3.org/2000/svg";
const { points, label } = JSON.parse(props.points);

function make(name, attributes, parent) {
  const made = document.createElementNS(SPACE, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  parent.append(made);
  return made;
}

const svg = make("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "listbox", tabindex: 0, "aria-label": label }, element.querySelector(".map"));
const name = element.querySelector(".name");

function spread(values, room) {
  const least = Math.min(...values), most = Math.max(...values);
  return values.map((value) => EDGE + (room - 2 * EDGE) * (most > least ? (value - least) / (most - least) : 0.5));
}
const across = spread(points.map((point) => point[1]), WIDTH);
const down = spread(points.map((point) => -point[2]), HEIGHT);
const link = make("line", { class: "link", "aria-hidden": true }, svg);
const dots = points.map(([title], index) =>
  make("circle", { id: `point-${index}`, role: "option", "aria-selected": false, "aria-label": title, cx: across[index], cy: down[index], r: 6 }, svg));

let active = -1;

function look(index) {
  dots[active]?.classList.remove("active");
  active = index;
  dots[active]?.classList.add("active");
  name.textContent = active < 0 ? "" : points[active][0];
  if (active < 0) svg.removeAttribute("aria-activedescendant");
  else svg.setAttribute("aria-activedescendant", `point-${active}`);
}

function nearest(event) {
  const box = svg.getBoundingClientRect();
  const x = (event.clientX - box.left) / box.width * WIDTH, y = (event.clientY - box.top) / box.height * HEIGHT;
  let best = -1, least = Infinity;
  points.forEach((_, index) => {
    const distance = (across[index] - x) ** 2 + (down[index] - y) ** 2;
    if (distance < least) [best, least] = [index, distance];
  });
  return best;
}

// The next point in a direction: near, and more along the direction than beside it.
function next([dx, dy]) {
  if (active < 0) return 0;
  let best = active, least = Infinity;
  points.forEach((_, index) => {
    const along = (across[index] - across[active]) * dx + (down[index] - down[active]) * dy;
    const beside = Math.abs((across[index] - across[active]) * dy - (down[index] - down[active]) * dx);
    if (along > 0 && along + 2.5 * beside < least) [best, least] = [index, along + 2.5 * beside];
  });
  return best;
}

const DIRECTIONS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const play = (index) => index >= 0 && trigger("select", { index });

svg.addEventListener("pointermove", (event) => look(nearest(event)));
svg.addEventListener("pointerleave", () => document.activeElement !== svg && look(-1));
svg.addEventListener("click", (event) => { look(nearest(event)); play(active); });
svg.addEventListener("focus", () => active < 0 && look(Math.max(0, dots.findIndex((dot) => dot.classList.contains("here")))));
svg.addEventListener("blur", () => look(-1));
svg.addEventListener("keydown", (event) => {
  if (DIRECTIONS[event.key]) look(next(DIRECTIONS[event.key]));
  else if (event.key === "Enter" || event.key === " ") play(active);
  else return;
  event.preventDefault();
});

function mark() {
  const here = JSON.parse(props.value || "[]");
  dots.forEach((dot, index) => {
    dot.classList.toggle("here", here.includes(index));
    dot.setAttribute("aria-selected", here.includes(index));
  });
  link.toggleAttribute("hidden", here.length < 2);
  if (here.length === 2) {
    const ends = { x1: across[here[0]], y1: down[here[0]], x2: across[here[1]], y2: down[here[1]] };
    for (const [key, value] of Object.entries(ends)) link.setAttribute(key, value);
  }
}
watch("value", mark);
mark();
