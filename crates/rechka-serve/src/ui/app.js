// The page: what is shown when, and what the buttons do.
import { Captions, clock } from "./captions.js";
import { Library, PastSession } from "./library.js";
import { Meter } from "./meter.js";
import { Microphone, Recording } from "./sources.js";
import { Stream } from "./stream.js";

const $ = (id) => document.getElementById(id);
const stage = $("stage");
const captions = new Captions($("captions"), stage);
const meter = new Meter($("meter"), $("microphone"));
const past = new PastSession($("past"), stage);
const library = new Library({
  list: $("sessions"),
  empty: $("no-sessions"),
  more: $("more"),
  onModel(model) {
    $("model").hidden = false;
    $("model").querySelector("b").textContent = model;
  },
  onReach(reached) {
    if (!stream) connection(reached ? "ready" : "away", reached ? "Connected" : "Server not reached");
  },
});

/** The session that is being sent, if any. */
let stream = null;
let source = null;

function connection(state, text) {
  $("connection").dataset.state = state;
  $("connection").lastElementChild.textContent = text;
}

function notice(text) {
  $("notice").hidden = !text;
  $("notice").firstElementChild.textContent = text ?? "";
}
$("notice").lastElementChild.onclick = () => notice(null);

function microphoneTrouble(error) {
  switch (error.name) {
    case "NotAllowedError":
      return "The microphone is blocked for this page. Allow it by the lock or microphone sign beside the address, then press the button again.";
    case "NotFoundError":
      return "There is no microphone. Connect one, or drop a recording on this page.";
    case "NotReadableError":
      return "The microphone is in use by another program. Close that one, then press the button again.";
    case "SecurityError":
      return "Browsers give the microphone to secure pages only: open this page as http://localhost, or over https.";
    default:
      return `The microphone could not be opened (${error.message || error.name}).`;
  }
}

function refusalText(refusal) {
  switch (refusal?.code) {
    case "too_many_sessions":
      return "All places are taken. Go on speaking: your words wait here until there is room.";
    case "storage":
      return "The server can't store sound at the moment. Go on speaking: your words wait here until it can.";
    case "taken_over":
      return "This session goes on in another window.";
    case undefined:
    case "stopping":
    case "idle":
      return "The server is out of reach. Go on speaking: your words wait here, and are sent when it is back.";
    default:
      return refusal.message;
  }
}

/** Shows the live stage. */
function showPaper(title) {
  location.hash = "#/";
  past.close();
  $("live").hidden = false;
  $("welcome").hidden = true;
  $("paper").hidden = false;
  $("live-title").hidden = !title;
  $("live-title").textContent = title ?? "";
  captions.clear();
}

function begin(opened, name) {
  source = opened;
  stream = new Stream(source, name);
  const mine = stream;
  const on = (type, react) => stream.addEventListener(type, ({ detail }) => mine === stream && react(detail));
  on("state", ({ state, message, refusal, seconds, session }) => {
    if (state === "open") {
      connection("ready", "Connected");
      notice(null);
      document.body.dataset.session = session;
    } else if (state === "connecting") {
      connection("checking", "Connecting");
    } else if (state === "waiting") {
      connection("away", `Reconnecting${seconds >= 2 ? ` in ${Math.round(seconds)} s` : ""}`);
      notice(refusalText(refusal));
    } else if (state === "refused") {
      notice(refusalText(message));
      finished();
    }
  });
  on("progress", ({ stored, total }) => {
    if (source.pace === "file") {
      $("progress").value = total > 0 ? stored / total : 0;
      $("doing").textContent = stored < total ? `Sending · ${clock(stored)} of ${clock(total)}` : "Stored. Transcribing…";
      $("stored").textContent = "";
    } else {
      const waiting = total - stored;
      $("doing").textContent = stream.ending ? "Finishing…" : `Listening · ${clock(total)}`;
      $("stored").textContent = waiting >= 1.5 ? `${clock(waiting)} to be stored` : stream.ready ? "all stored" : "";
      $("stored").dataset.behind = waiting >= 1.5;
    }
  });
  on("partial", (partial) => captions.change(partial));
  on("final", (segment) => captions.final(segment));
  on("continued", () => captions.divide());
  on("end", () => finished("Finished and stored"));
}

function finished(text) {
  source?.close();
  stream = source = null;
  listening(false);
  meter.clear();
  $("progress").hidden = true;
  $("meter").hidden = false;
  $("choose").disabled = false;
  $("stored").textContent = "";
  $("doing").textContent = text ?? "Ready";
  captions.erase();
  delete document.body.dataset.session;
  library.refresh();
}

function listening(on) {
  $("microphone").setAttribute("aria-pressed", on);
  $("microphone").setAttribute("aria-label", on ? "Stop listening" : "Start listening");
  document.title = on ? "● Rechka" : "Rechka";
}

let opening = false;
async function toggleMicrophone() {
  if (opening) return;
  if (stream) {
    if (source.pace !== "live" || stream.ending) return;
    listening(false);
    const ending = stream;
    await source.close();
    ending.end();
    $("doing").textContent = "Finishing…";
    return;
  }
  opening = true;
  notice(null);
  $("doing").textContent = "Asking for the microphone…";
  try {
    const microphone = await Microphone.open(
      (samples) => {
        if (source !== microphone) return;
        meter.push(samples);
        stream.pump();
        stream.tell("progress", { stored: (stream.base + stream.stored) / source.rate, total: source.end / source.rate });
      },
      () => {
        notice("The microphone was disconnected. What it heard is kept.");
        if (source === microphone && !stream.ending) toggleMicrophone();
      },
    );
    showPaper();
    begin(microphone);
    listening(true);
    $("choose").disabled = true;
  } catch (error) {
    notice(microphoneTrouble(error));
    $("doing").textContent = "Ready";
  }
  opening = false;
}

async function transcribe(file) {
  if (!file || opening) return;
  if (stream) return notice("One thing at a time: stop what is going on first.");
  opening = true;
  notice(null);
  $("doing").textContent = `Reading ${file.name}…`;
  try {
    const recording = await Recording.open(file);
    showPaper(file.name);
    $("meter").hidden = true;
    $("progress").hidden = false;
    $("progress").value = 0;
    $("choose").disabled = true;
    begin(recording, file.name);
    stream.end();
  } catch {
    notice(`This browser can't read ${file.name}. Sound files such as WAV, MP3, M4A, FLAC, Ogg or WebM work; \`rechka transcribe\` reads more.`);
    $("doing").textContent = "Ready";
  }
  opening = false;
}

$("microphone").onclick = toggleMicrophone;
$("choose").onclick = () => $("file").click();
$("file").onchange = ({ target }) => {
  transcribe(target.files[0]);
  target.value = "";
};

document.onkeydown = (event) => {
  if (event.code === "Space" && !event.repeat && !event.target.closest("a, button, input, select, audio, textarea")) {
    event.preventDefault();
    toggleMicrophone();
  }
};

let dragged = 0;
const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
document.ondragenter = (event) => {
  if (hasFiles(event)) $("drop").hidden = ++dragged === 0;
};
document.ondragleave = (event) => {
  if (hasFiles(event)) $("drop").hidden = --dragged <= 0;
};
document.ondragover = (event) => event.preventDefault();
document.ondrop = (event) => {
  event.preventDefault();
  dragged = 0;
  $("drop").hidden = true;
  transcribe(event.dataTransfer.files[0]);
};

/** What the address says is shown. */
function navigate() {
  const id = location.hash.match(/^#\/sessions\/([\w-]+)$/)?.[1];
  library.select(id);
  $("live").hidden = Boolean(id);
  if (id) past.open(id);
  else past.close();
  scrollTo(0, 0);
}
window.onhashchange = navigate;
window.onbeforeunload = (event) => {
  // Sound that is not stored yet would be lost with the page.
  if (stream && source.end > source.start) event.preventDefault();
};

meter.draw();
navigate();
library.refresh();
setInterval(() => document.hidden || library.refresh(), 3000);
