// The page: loads the networks, and connects files, camera and settings with what is shown.

import { ServiceEngine, WorkerEngine, canRunNetworks } from "./engine.js";
import { renderMarkdown } from "./markdown.js";
import { Photos } from "./photos.js";
import { Settings } from "./settings.js";
import { Stream } from "./stream.js";

const find = (id) => document.querySelector(`#${id}`);

async function main() {
  const config = await (await fetch("page.json", { cache: "no-cache" })).json();
  find("version").textContent = config.version;
  find("model-card").append(...renderMarkdown(config.model_card));
  const settings = new Settings(config);
  const photos = new Photos(config, settings);
  const stream = new Stream(config, settings);
  connect(photos, stream);
  try {
    if (!canRunNetworks()) throw new Error("This browser has no WebAssembly.");
    const engine = new WorkerEngine();
    const { threads } = await engine.load(config);
    photos.engine = stream.engine = engine;
    find("choose").disabled = false;
    const hasCamera = navigator.mediaDevices?.getUserMedia !== undefined;
    find("camera").disabled = !hasCamera;
    const cores = `${threads} ${threads === 1 ? "thread" : "threads"}`;
    say(`Ready: the networks run on ${cores}.`);
    if (!hasCamera)
      showProblem("The camera needs HTTPS or an address of this computer, such as http://localhost:5000.");
  } catch (error) {
    say("");
    offerService(config, photos, error.message);
  }
}

function say(text) {
  find("status").textContent = text;
}

function showProblem(text) {
  find("problem").textContent = text;
  find("problem").hidden = false;
}

/** Without the networks, photographs can be sent to the service, if there is one and the reader agrees. */
function offerService(config, photos, reason) {
  if (config.service === null) {
    showProblem(`${reason} The networks cannot run here; try a current version of Chromium, Firefox or Safari.`);
    return;
  }
  showProblem(
    `${reason} Photographs can be sent to the service instead, after you agree. Videos and the camera cannot.`,
  );
  const engine = new ServiceEngine(config.service);
  find("choose").disabled = false;
  find("settings").hidden = true;
  photos.engine = engine;
  photos.askFirst = async () => {
    if (engine.isAllowed) return true;
    engine.isAllowed = await ask();
    if (engine.isAllowed) find("privacy").textContent = "Photographs are sent to the service that this page came from.";
    return engine.isAllowed;
  };
}

/** Ask whether photographs may be sent. */
function ask() {
  const dialog = find("ask");
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

/** Let files, drops, pasted images and buttons start the analysis. */
function connect(photos, stream) {
  const files = find("files");
  const open = async (chosen) => {
    if (find("choose").disabled || chosen.length === 0) return;
    if (photos.askFirst && !(await photos.askFirst())) return;
    const videos = stream.engine === null ? [] : chosen.filter((file) => file.type.startsWith("video/"));
    const images = chosen.filter((file) => !file.type.startsWith("video/"));
    if (images.length) photos.add(images);
    if (videos.length) await stream.openFile(videos[0]);
    if (videos.length > 1) showProblem("One video at a time: the first one was opened.");
  };
  find("choose").addEventListener("click", () => files.click());
  files.addEventListener("change", () => {
    const chosen = [...files.files];
    files.value = ""; // the same files can be chosen again
    open(chosen);
  });
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dragging");
  });
  document.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) document.body.classList.remove("dragging");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dragging");
    open([...event.dataTransfer.files]);
  });
  document.addEventListener("paste", (event) => open([...event.clipboardData.files]));
  find("camera").addEventListener("click", () => openCamera(stream));
  find("cameras").addEventListener("change", () => openCamera(stream));
}

async function openCamera(stream) {
  find("problem").hidden = true;
  try {
    await stream.openCamera(find("cameras").value);
  } catch (error) {
    const denied = error.name === "NotAllowedError";
    showProblem(denied ? "The browser did not allow the camera." : `The camera cannot be opened (${error.message}).`);
    return;
  }
  // Names of cameras are known after one was allowed.
  const devices = await navigator.mediaDevices.enumerateDevices();
  const cameras = devices.filter(({ kind }) => kind === "videoinput");
  const chosen = stream.video.srcObject?.getVideoTracks()[0]?.getSettings().deviceId;
  const options = cameras.map(
    ({ deviceId, label }, i) => new Option(label || `Camera ${i + 1}`, deviceId, false, deviceId === chosen),
  );
  find("cameras").replaceChildren(...options);
  find("camera-choice").hidden = cameras.length < 2;
}

main().catch((error) => {
  say("");
  showProblem(`The page cannot start (${error.message}).`);
});
