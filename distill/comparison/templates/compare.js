// The page of a comparison: its players, and a blind listening test, ABX or MUSHRA (ITU-R BS.1534-3).

const players = [...document.querySelectorAll(".card")].map((card) => new Player(card));

const LABELS = ["bad", "poor", "fair", "good", "excellent"];
const ANCHORS = { "anchor-7": 7000, "anchor-3.5": 3500 };
const TRANSITION = 500; // Hz: below -50 dB from there on, where 50 dB are asked for at 1000 Hz
const KAISER = 5.65; // for 60 dB
const MOST_RATED = 22; // runs in a trial of MUSHRA: with the original and two anchors, 25 letters besides R
const HEARD = 0.1; // seconds of a sound, or all of a shorter one, without which no answer about it counts

// Random numbers from a seed (mulberry32), so that an order can be made again.
function randomFrom(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function shuffled(list, random) {
  const mixed = [...list];
  for (let last = mixed.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    [mixed[last], mixed[other]] = [mixed[other], mixed[last]];
  }
  return mixed;
}

// The Bessel function I0, by its series.
function bessel(x) {
  let [sum, part] = [1, 1];
  for (let k = 1; part > 1e-12 * sum; k++) {
    part *= (x / 2 / k) ** 2;
    sum += part;
  }
  return sum;
}

// A low-pass filter: flat up to `cutoff` Hz, a sinc with a Kaiser window. Its delay is half its length.
function lowPass(cutoff, rate) {
  const half = Math.ceil((52 * rate) / (2.285 * 4 * Math.PI * TRANSITION));
  const centre = (2 * (cutoff + TRANSITION / 2)) / rate;
  return Float32Array.from({ length: 2 * half + 1 }, (_, index) => {
    const at = index - half;
    const sinc = at ? Math.sin(Math.PI * centre * at) / (Math.PI * at) : centre;
    return (sinc * bessel(KAISER * Math.sqrt(1 - (at / half) ** 2))) / bessel(KAISER);
  });
}

async function filtered(buffer, cutoff) {
  const { numberOfChannels: channels, length, sampleRate: rate } = buffer;
  const kernel = lowPass(cutoff, rate);
  const delay = (kernel.length - 1) / 2;
  const offline = new OfflineAudioContext(channels, length + delay, rate);
  const response = new AudioBuffer({ length: kernel.length, sampleRate: rate });
  response.copyToChannel(kernel, 0);
  const convolver = new ConvolverNode(offline, { disableNormalization: true, buffer: response });
  const source = new AudioBufferSourceNode(offline, { buffer });
  source.connect(convolver).connect(offline.destination);
  source.start();
  const made = await offline.startRendering();
  const cut = new AudioBuffer({ numberOfChannels: channels, length, sampleRate: rate });
  for (let channel = 0; channel < channels; channel++) {
    cut.copyToChannel(made.getChannelData(channel).subarray(delay), channel);
  }
  return cut;
}

// A recording has an anchor only if it reaches beyond it.
function anchorsOf(key) {
  return Object.keys(ANCHORS).filter((name) => data.rates[key] / 2 > ANCHORS[name] + TRANSITION);
}

function element(tag, properties = {}, ...children) {
  const { dataset, attributes, ...rest } = properties;
  const made = Object.assign(document.createElement(tag), rest);
  Object.assign(made.dataset, dataset);
  for (const [name, value] of Object.entries(attributes || {})) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function radio(name, value, label, checked) {
  return element("label", {}, element("input", { type: "radio", name, value, checked }), element("span", {}, label));
}

// The player of a trial: its versions have letters, which hide the systems.
class TrialPlayer extends Player {
  constructor(card, systems) {
    super(card);
    this.systems = systems;
    this.listened = {}; // seconds by letter
  }

  follow() {
    const now = this.playing ? context.currentTime : null;
    if (this.playing && this.before) this.listened[this.heard] = (this.listened[this.heard] || 0) + now - this.before;
    this.before = now;
    super.follow();
  }

  // The letters that were not heard yet, in words.
  get unheard() {
    const needed = Math.min(HEARD, this.length);
    const letters = Object.keys(this.systems).filter((letter) => !(this.listened[letter] >= needed));
    return letters.map((letter) => (letter === "r" ? "the reference" : letter.toUpperCase())).join(", ");
  }

  async load(there) {
    const original = data.sounds[this.key];
    const wanted = new Set(Object.values(this.systems));
    const found = await decoded(there, this.key);
    for (const name of Object.keys(ANCHORS).filter((each) => wanted.has(each))) {
      found[name] = await filtered(found[Object.keys(original)[0]], ANCHORS[name]);
    }
    return Object.fromEntries(Object.entries(this.systems).map(([letter, system]) => [letter, found[system]]));
  }
}

function playerParts(letters) {
  return element("div", { className: "player" },
    element("button", { type: "button", className: "play" }, element("span", { attributes: { "aria-hidden": "true" } })),
    element("fieldset", {}, element("legend", { className: "hidden" }, "Which to hear"),
      ...letters.map(([value, label], index) => radio("heard", value, label, index === 0))),
    element("input", { type: "range", className: "seek", min: 0, max: 1000, value: 0, attributes: { "aria-label": "Position" } }),
    element("output", { className: "time", attributes: { "aria-hidden": "true" } }, "0.0 s"),
    element("label", { className: "loop" }, element("input", { type: "checkbox", checked: true }), element("span", {}, " loop")),
  );
}

class ListeningTest {
  constructor(kind, listener, seed, panel, systems, count) {
    Object.assign(this, { kind, listener, seed, panel, systems, count });
    this.random = randomFrom(seed);
    this.answers = [];
    const keys = Object.keys(data.sounds);
    if (kind === "mushra") this.recordings = shuffled(keys, this.random);
    else {
      this.recordings = [];
      while (this.recordings.length < count) this.recordings.push(...shuffled(keys, this.random));
      this.recordings.length = count;
    }
  }

  next() {
    this.player?.stop();
    if (this.answers.length === this.recordings.length) return this.finish();
    const key = this.recordings[this.answers.length];
    const title = element("h3", { tabIndex: -1 }, `Trial ${this.answers.length + 1} of ${this.recordings.length}`);
    const about = element("p", { className: "about" }, data.titles[key]);
    const trouble = element("p", { className: "trouble", attributes: { role: "status" } });
    this.panel.dataset.sound = key;
    this.panel.dataset.seconds = data.seconds[key];
    const parts = this.kind === "abx" ? this.abx(key, trouble) : this.mushra(key, trouble);
    this.panel.replaceChildren(title, about, playerParts(parts.letters), trouble, ...parts.below, this.leaving());
    this.player = new TrialPlayer(this.panel, parts.systems);
    title.focus();
  }

  // Whether all sounds of the trial were heard; else it says which were not.
  hasHeard(trouble) {
    const { unheard } = this.player;
    if (unheard) trouble.textContent = `Listen first to ${unheard}.`;
    return !unheard;
  }

  leaving() {
    const leave = () => {
      this.player.stop();
      this.close();
    };
    return element("p", { className: "leaving" },
      element("button", { type: "button", className: "quiet", onclick: leave }, "End the test without saving"));
  }

  close() {
    test = null;
    this.panel.hidden = true;
    this.panel.replaceChildren();
    setup.hidden = false;
    setup.querySelector("[type=submit]").focus();
  }

  abx(key, trouble) {
    const [a, b] = shuffled(this.systems, this.random);
    const x = this.random() < 0.5 ? a : b;
    const answer = (system) => () => {
      if (!this.hasHeard(trouble)) return;
      this.answers.push({ recording: data.titles[key], a, b, x, answer: system });
      this.next();
    };
    const button = (label, system) =>
      element("button", { type: "button", className: "action", onclick: answer(system) }, label);
    return {
      letters: [["a", "A"], ["b", "B"], ["x", "X"]],
      systems: { a, b, x },
      below: [element("div", { className: "actions" }, button("X is A", a), button("X is B", b))],
    };
  }

  mushra(key, trouble) {
    const order = shuffled(["original", ...data.runs.map((run) => run.key), ...anchorsOf(key)], this.random);
    const letters = order.map((_, index) => String.fromCharCode(97 + index + (index > 16))); // r is the reference
    const rated = new Set();
    const rows = letters.map((letter) => this.slider(letter, rated));
    const done = () => {
      if (rated.size < order.length) {
        trouble.textContent = `Rate every sound first: ${letters.filter((each) => !rated.has(each)).join(", ").toUpperCase()}.`;
        return;
      }
      if (!this.hasHeard(trouble)) return;
      const scores = Object.fromEntries(order.map((system, index) => [system, Number(rows[index].querySelector("input").value)]));
      this.answers.push({ recording: data.titles[key], scores });
      this.next();
    };
    const scale = element("div", { className: "scale", attributes: { "aria-hidden": "true" } },
      ...LABELS.map((label) => element("span", {}, label)));
    return {
      letters: [["r", "reference"], ...letters.map((letter) => [letter, letter.toUpperCase()])],
      systems: { r: "original", ...Object.fromEntries(letters.map((letter, index) => [letter, order[index]])) },
      below: [element("div", { className: "rows" }, scale, ...rows),
        element("div", { className: "actions" }, element("button", { type: "button", className: "action", onclick: done }, "Next"))],
    };
  }

  slider(letter, rated) {
    const name = letter.toUpperCase();
    const shown = element("output", {}, "–");
    const input = element("input", { type: "range", min: 0, max: 100, step: 1, value: 50, attributes: { "aria-label": `Score of ${name}`, "aria-valuetext": "not rated" } });
    const rate = () => {
      rated.add(letter);
      shown.textContent = input.value;
      input.setAttribute("aria-valuetext", `${input.value}, ${LABELS[Math.min(4, Math.floor(input.value / 20))]}`);
    };
    input.addEventListener("input", rate);
    input.addEventListener("change", rate);
    input.addEventListener("focus", () => this.player.choose(letter));
    return element("div", { className: "row" }, element("b", {}, name), input, shown);
  }

  finish() {
    delete this.panel.dataset.sound;
    this.player = null;
    const right = this.answers.filter((each) => each.answer === each.x).length;
    const told = this.kind === "abx" ? `${right} of ${this.answers.length} are right.` : "Every recording is rated.";
    const systems = Object.fromEntries(data.runs.map((run) => [run.key, { name: run.name, model: run.model }]));
    const session = [...crypto.getRandomValues(new Uint8Array(16))].map((each) => each.toString(16).padStart(2, "0")).join("");
    const content = {
      format: 1, test: this.kind, session, listener: this.listener, seed: this.seed,
      planned: this.recordings.length, systems, [this.kind]: this.answers,
    };
    const file = new Blob([JSON.stringify(content, null, 1)], { type: "application/json" });
    const title = element("h3", { tabIndex: -1 }, "Thank you");
    const save = element("a", { className: "action", href: URL.createObjectURL(file), download: `answers-${this.kind}-${session.slice(0, 8)}.json` }, "Save the answers");
    const command = element("code", {}, "distill compare RUN RUN --answers FILE --overwrite");
    this.panel.replaceChildren(title, element("p", {}, `${told} Save them, and give the file to `, command, "."),
      element("div", { className: "actions" }, save));
    document.getElementById("setup").hidden = false;
    title.focus();
  }
}

// Letters switch and space plays, while the focus is in the test.
function steer(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || !test?.player) return;
  const choice = test.panel.querySelector(`input[name=heard][value="${CSS.escape(event.key.toLowerCase())}"]`);
  if (choice) test.player.choose(choice.value);
  else if (event.key === " " && !event.target.closest("button, input[type=checkbox]")) test.player.button.click();
  else return;
  event.preventDefault();
}

let test = null;
const setup = document.getElementById("setup");

setup?.addEventListener("change", () => {
  const abx = setup.elements.test.value === "abx";
  for (const label of setup.querySelectorAll(".abx")) label.hidden = !abx;
});

setup?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const value = (name) => document.getElementById(name).value;
  const kind = setup.elements.test.value;
  const systems = [value("system-a"), value("system-b")];
  const trouble = setup.querySelector(".trouble");
  trouble.textContent = "";
  if (kind === "abx" && systems[0] === systems[1]) trouble.textContent = "Choose two that differ.";
  if (kind === "mushra" && data.runs.length > MOST_RATED) {
    trouble.textContent = `MUSHRA takes at most ${MOST_RATED} runs. Compare fewer.`;
  }
  if (trouble.textContent) return;
  try {
    await running();
  } catch (error) {
    trouble.textContent = `A test needs sound: ${error.message}.`;
    return;
  }
  const seed = value("seed") === "" ? crypto.getRandomValues(new Uint32Array(1))[0] : Number(value("seed"));
  current?.pause();
  const panel = document.getElementById("trial");
  panel.hidden = false;
  setup.hidden = true;
  test = new ListeningTest(kind, value("listener").trim() || "listener", seed, panel, systems, Number(value("trials")));
  test.next();
});

document.getElementById("trial")?.addEventListener("keydown", steer);
