"use strict";
// The page of a run: draws its figures with Plotly, and plays its sounds.

const data = JSON.parse(document.getElementById("data").textContent);
const hidden = new Set();

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
  return figure.data.map((trace) => !hidden.has(trace.meta?.term));
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
  if (element.dataset.figure === "map") {
    element.on("plotly_click", (event) => playPoint(event.points[0].customdata));
  }
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
    if (box.checked) hidden.delete(box.value);
    else hidden.add(box.value);
    for (const panel of document.querySelectorAll("figure[data-term]")) {
      panel.hidden = hidden.has(panel.dataset.term);
    }
    for (const plot of plots.filter((each) => each.dataset.drawn === "yes")) {
      const figure = data.figures[plot.dataset.figure];
      if (figure.data.some((trace) => trace.meta?.term)) {
        Plotly.restyle(plot, { visible: visibilities(figure) });
      }
    }
  });
}

// Sounds. Original and reconstruction play at once, and only one is let through: switching leaves no gap.

const FADE = 0.008;
let context = null;
let current = null;

function audio() {
  const Context = window.AudioContext || window.webkitAudioContext;
  if (!Context) throw new Error("this browser plays no sound");
  context ||= new Context();
  return context;
}

function bytes(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
}

class Player {
  constructor(card) {
    this.card = card;
    this.key = card.dataset.sound;
    this.button = card.querySelector(".play");
    this.seek = card.querySelector(".seek");
    this.time = card.querySelector(".time");
    this.loop = card.querySelector(".loop input");
    this.trouble = card.querySelector(".trouble");
    this.choices = [...card.querySelectorAll("input[type=radio]")];
    this.position = 0;
    this.playing = false;
    this.button.addEventListener("click", () => (this.playing ? this.pause() : this.play()));
    this.choices.forEach((choice) => choice.addEventListener("change", () => this.let()));
    this.seek.addEventListener("input", () => this.jump());
    this.loop.addEventListener("change", () => this.sources?.forEach((source) => (source.loop = this.loop.checked)));
    this.show();
  }

  get heard() {
    return this.choices.find((choice) => choice.checked).value;
  }

  async play() {
    try {
      const there = audio();
      await there.resume();
      this.buffers ||= {
        original: await there.decodeAudioData(bytes(data.sounds[this.key].original)),
        reconstruction: await there.decodeAudioData(bytes(data.sounds[this.key].reconstruction)),
      };
    } catch (error) {
      this.trouble.textContent = `It cannot be played: ${error.message}. The files are linked below.`;
      return;
    }
    if (current && current !== this) current.pause();
    current = this;
    if (this.position >= this.length - 0.01) this.position = 0;
    const start = context.currentTime + 0.02;
    this.gains = {};
    this.sources = Object.entries(this.buffers).map(([name, buffer]) => {
      const source = new AudioBufferSourceNode(context, { buffer, loop: this.loop.checked });
      const gain = new GainNode(context, { gain: name === this.heard ? 1 : 0 });
      source.connect(gain).connect(context.destination);
      source.start(start, this.position);
      this.gains[name] = gain;
      return source;
    });
    const [first] = this.sources;
    first.addEventListener("ended", () => this.sources?.[0] === first && this.end());
    this.began = start - this.position;
    this.playing = true;
    this.show();
    this.follow();
  }

  get length() {
    return this.buffers ? this.buffers.original.duration : Number(this.card.dataset.seconds);
  }

  let() {
    for (const [name, gain] of Object.entries(this.gains || {})) {
      gain.gain.cancelScheduledValues(context.currentTime);
      gain.gain.setTargetAtTime(name === this.heard ? 1 : 0, context.currentTime, FADE);
    }
    this.show();
  }

  stop() {
    const sources = this.sources;
    this.sources = null;
    sources?.forEach((source) => source.stop());
    this.playing = false;
  }

  pause() {
    this.position = this.now;
    this.stop();
    this.show();
  }

  end() {
    this.stop();
    this.position = 0;
    this.show();
  }

  get now() {
    if (!this.playing) return this.position;
    const passed = Math.max(0, context.currentTime - this.began);
    return this.loop.checked ? passed % this.length : Math.min(passed, this.length);
  }

  jump(to = (this.seek.value / 1000) * this.length) {
    const playing = this.playing;
    this.stop();
    this.position = to;
    if (playing) this.play();
    else this.show();
  }

  follow() {
    if (!this.playing) return;
    this.show();
    requestAnimationFrame(() => this.follow());
  }

  show() {
    const state = this.playing ? "playing" : "paused";
    const name = this.card.querySelector("h3").textContent;
    if (this.card.dataset.state !== state) {
      this.card.dataset.state = state;
      this.button.setAttribute("aria-label", `${this.playing ? "Pause" : "Play"} ${name}`);
    }
    this.card.dataset.heard = this.heard;
    this.seek.value = (1000 * this.now) / this.length;
    this.seek.setAttribute("aria-valuetext", `${this.now.toFixed(1)} seconds`);
    this.time.textContent = `${this.now.toFixed(1)} s`;
    this.mark();
  }

  // A line on the spectrograms shows what is heard.
  mark() {
    const plot = this.card.querySelector(".plot");
    const axes = plot._fullLayout;
    if (!axes?.xaxis || !(this.playing || this.position)) return this.head?.remove();
    this.head ||= Object.assign(document.createElement("div"), { className: "head" });
    if (!this.head.isConnected) plot.append(this.head);
    const [top, bottom] = [axes.yaxis._offset, axes.yaxis2._offset + axes.yaxis2._length];
    const place = axes.xaxis.d2p(this.now);
    this.head.hidden = place < 0 || place > axes.xaxis._length;
    this.head.style.cssText = `left: ${axes.xaxis._offset + place}px; top: ${top}px; height: ${bottom - top}px`;
  }
}

const players = [...document.querySelectorAll(".card")].map((card) => new Player(card));

let point = null;

async function playPoint(index) {
  const trouble = document.querySelector(".map .trouble");
  const choice = document.getElementById("point");
  if (!data.points[index]) {
    trouble.textContent = "This recording is on the map without a sound.";
    return;
  }
  choice.value = String(index);
  try {
    const there = audio();
    await there.resume();
    const buffer = await there.decodeAudioData(bytes(data.points[index]));
    current?.pause();
    point?.stop();
    point = new AudioBufferSourceNode(there, { buffer });
    point.connect(there.destination);
    point.start();
    trouble.textContent = `Playing ${choice.selectedOptions[0].textContent}`;
    point.addEventListener("ended", () => (trouble.textContent = ""), { once: true });
  } catch (error) {
    trouble.textContent = `It cannot be played: ${error.message}.`;
  }
}

document.getElementById("play-point")?.addEventListener("click", () => playPoint(Number(document.getElementById("point").value)));

// A page of a run that is training loads itself again, unless a sound plays.

if (data.refresh) {
  setInterval(() => !players.some((player) => player.playing) && location.reload(), 1000 * data.refresh);
}
