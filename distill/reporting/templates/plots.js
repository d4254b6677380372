"use strict";
// The figures of a page, which Plotly draws when they come into view.

const data = JSON.parse(document.getElementById("data").textContent);
const hidden = new Set(); // such as "term:stft"

// Tables that are wider than their place say so.
const widths = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const box = target.closest(".scroll");
    box.classList.toggle("over", box.scrollWidth > box.clientWidth + 1);
  }
});
for (const part of document.querySelectorAll(".scroll, .scroll > table")) widths.observe(part);

// Figures

// Plotly is large: the page is read and heard before it is compiled.
let library = null;

function loadPlotly() {
  library ||= new Promise((done) => {
    setTimeout(() => {
      const script = document.createElement("script");
      script.textContent = document.getElementById("library").textContent;
      document.head.append(script);
      done();
    });
  });
  return library;
}

function theme() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  return { text: colour("--text"), grid: colour("--line"), paper: colour("--panel") };
}

function themed(layout) {
  const { text, grid, paper } = theme();
  const axis = (given) => ({
    gridcolor: grid, zerolinecolor: grid, linecolor: grid, automargin: true, ...given,
    title: { standoff: 8, ...given?.title, font: { size: 11 } },
  });
  const axes = Object.fromEntries(
    Object.keys(layout).filter((key) => /^[xy]axis/.test(key)).map((key) => [key, axis(layout[key])]),
  );
  return {
    margin: { l: 48, r: 10, t: 8, b: 36 }, hovermode: "x",
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, sans-serif", size: 11, color: text },
    hoverlabel: { bgcolor: paper, bordercolor: grid, font: { color: text } },
    legend: { orientation: "h", y: -0.22, x: 0, bgcolor: "rgba(0,0,0,0)" },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: grid, activecolor: text },
    ...layout, ...axes,
  };
}

const options = { responsive: true, displaylogo: false, modeBarButtons: [["zoomIn2d", "zoomOut2d", "resetScale2d", "toImage"]] };

function visibilities(figure) {
  return figure.data.map(({ meta }) => !hidden.has(`term:${meta?.term}`) && !hidden.has(`run:${meta?.run}`));
}

async function draw(element) {
  if (element.dataset.drawn) return;
  element.dataset.drawn = "drawing";
  await loadPlotly();
  const figure = data.figures[element.dataset.figure];
  const seen = visibilities(figure);
  const traces = figure.data.map((trace, index) => ({ ...trace, visible: seen[index] }));
  await Plotly.newPlot(element, traces, themed(figure.layout), options);
  // What the picture says is its label; its inner parts would be read out letter by letter.
  for (const picture of element.querySelectorAll("svg")) picture.setAttribute("aria-hidden", "true");
  element.dataset.drawn = "yes";
  element.dispatchEvent(new Event("drawn"));
  const card = element.closest(".card");
  if (card) {
    const player = players.find((each) => each.card === card);
    element.on("plotly_click", (event) => player.jump(event.points[0].x));
    element.on("plotly_afterplot", () => player.mark()); // zoomed, or of another width
  }
}

const plots = [...document.querySelectorAll(".plot")];
const watcher = new IntersectionObserver(
  (entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => draw(entry.target)),
  { rootMargin: "600px" },
);
plots.forEach((plot) => watcher.observe(plot));
addEventListener("beforeprint", () => plots.forEach(draw));

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const plot of plots.filter((each) => each.dataset.drawn === "yes")) {
    Plotly.react(plot, plot.data, themed(data.figures[plot.dataset.figure].layout), options);
  }
});

for (const box of document.querySelectorAll(".terms input")) {
  box.addEventListener("change", () => {
    const name = `${box.dataset.kind}:${box.value}`;
    if (box.checked) hidden.delete(name);
    else hidden.add(name);
    for (const panel of document.querySelectorAll("figure[data-term]")) {
      panel.hidden = hidden.has(`term:${panel.dataset.term}`);
    }
    for (const plot of plots.filter((each) => each.dataset.drawn === "yes")) {
      const figure = data.figures[plot.dataset.figure];
      if (figure.data.some((trace) => trace.meta?.term || trace.meta?.run)) {
        Plotly.restyle(plot, { visible: visibilities(figure) });
      }
    }
  });
}
