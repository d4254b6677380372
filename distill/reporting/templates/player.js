// Players. All versions of a sound play at once, and only one is let through: switching leaves no gap.

const FADE = 0.008;
const PATIENCE = 3000; // ms for which time may stand still where sound is to come out
const REST = 1000; // ms
const SILENT = "no sound comes out, since the browser found no audio output or blocks it";
let context = null;
let current = null;
let wanted = null; // the player that was asked for last
let resting = null;

function audio() {
  const Context = window.AudioContext || window.webkitAudioContext;
  if (!Context) throw new Error("this browser lacks Web Audio");
  context ||= new Context();
  return context;
}

// The context, once its time passes. Without an output, some browsers never do what `resume` promises.
async function running() {
  const there = audio();
  there.resume().catch(() => {});
  const end = performance.now() + PATIENCE;
  while (there.state !== "running" || !there.currentTime) {
    if (performance.now() > end) throw new Error(SILENT);
    await new Promise((done) => setTimeout(done, 10));
  }
  rest();
  return there;
}

// Release the audio output after a while in which nothing plays: it takes power, and keeps some computers awake.
function rest() {
  clearTimeout(resting);
  resting = setTimeout(() => current?.playing || context.suspend(), REST);
}

async function decode(there, text, format) {
  try {
    return await there.decodeAudioData(bytes(text));
  } catch {
    throw new Error(`this browser cannot decode ${format}`);
  }
}

function bytes(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
}

async function decoded(there, key) {
  const versions = Object.entries(data.sounds[key]);
  const buffers = await Promise.all(versions.map(([, text]) => decode(there, text, "FLAC")));
  return Object.fromEntries(versions.map(([name], index) => [name, buffers[index]]));
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

  choose(name) {
    this.choices.find((choice) => choice.value === name).checked = true;
    this.let();
  }

  async play() {
    const attempt = {};
    this.attempt = attempt;
    wanted = this;
    let problem = "";
    try {
      this.buffers ||= await this.load(audio());
      await running();
    } catch (error) {
      problem = `It cannot be played: ${error.message}.`;
    }
    if (wanted !== this || this.attempt !== attempt) return; // stopped, or asked for again
    this.trouble.textContent = problem;
    if (problem) return;
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
    this.moved = { time: context.currentTime, at: performance.now() };
    this.show();
    this.follow();
  }

  async load(there) {
    return decoded(there, this.key);
  }

  get length() {
    return this.buffers ? Object.values(this.buffers)[0].duration : Number(this.card.dataset.seconds);
  }

  let() {
    for (const [name, gain] of Object.entries(this.gains || {})) {
      gain.gain.cancelScheduledValues(context.currentTime);
      gain.gain.setTargetAtTime(name === this.heard ? 1 : 0, context.currentTime, FADE);
    }
    this.show();
  }

  stop() {
    this.attempt = null;
    const sources = this.sources;
    this.sources = null;
    sources?.forEach((source) => source.stop());
    this.playing = false;
    if (sources) rest();
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
    const { currentTime: time } = context;
    if (time !== this.moved.time) this.moved = { time, at: performance.now() };
    else if (performance.now() - this.moved.at > PATIENCE) {
      this.pause();
      this.trouble.textContent = `It stopped: ${SILENT}.`;
      return;
    }
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
    const axes = plot?._fullLayout;
    if (!axes?.xaxis || !(this.playing || this.position)) return this.head?.remove();
    this.head ||= Object.assign(document.createElement("div"), { className: "head" });
    if (!this.head.isConnected) plot.append(this.head);
    const rows = Object.keys(axes).filter((key) => /^yaxis\d*$/.test(key)).map((key) => axes[key]);
    const top = Math.min(...rows.map((row) => row._offset));
    const bottom = Math.max(...rows.map((row) => row._offset + row._length));
    const place = axes.xaxis.d2p(this.now);
    this.head.hidden = place < 0 || place > axes.xaxis._length;
    this.head.style.cssText = `left: ${axes.xaxis._offset + place}px; top: ${top}px; height: ${bottom - top}px`;
  }
}
