// What an explorer needs of the browser beyond ipywidgets: pictures that are touched, names for those who listen, a word
// when the kernel is gone, and notebooks that are saved with pictures. No address in it, so it works offline.

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** A picture of the class xai-touch-NAME answers the pointer, and the keyboard with a cursor of its own. */
function touchable(root, model, signal) {
  const cursor = document.createElement("div");
  cursor.className = "xai-cursor";
  let at = [0.5, 0.5];
  const picture = (event) => event.target.closest("img.xai-touch");
  function tell(image, x, y, kind) {
    at = [x, y].map((part) => Math.min(Math.max(part, 0), 0.999));
    const touch = [image.className.match(/xai-touch-(\S+)/)[1], ...at, kind];
    if (kind === "click") return model.send(touch); // each counts; of moves the latest position does
    model.set("moved", touch);
    model.save_changes();
  }
  function point(event, kind) {
    const image = picture(event);
    if (!image || event.button > 0) return;
    if (kind === "click") image.setPointerCapture(event.pointerId); // a drag goes on beyond the edge
    const box = image.getBoundingClientRect();
    cursor.remove();
    tell(image, (event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height, kind);
  }
  root.addEventListener("pointermove", (event) => point(event, event.buttons ? "drag" : "move"), { signal });
  root.addEventListener("pointerdown", (event) => point(event, "click"), { signal });
  root.addEventListener("dragstart", (event) => picture(event) && event.preventDefault(), { signal });
  root.addEventListener("focusout", () => cursor.remove(), { signal });
  root.addEventListener("keydown", (event) => {
    const image = picture(event), step = STEPS[event.key], click = event.key === "Enter" || event.key === " ";
    if (!image || !(step || click)) return;
    event.preventDefault();
    const far = event.shiftKey ? 0.01 : 0.04;
    tell(image, at[0] + far * (step?.[0] ?? 0), at[1] + far * (step?.[1] ?? 0), click ? "click" : "move");
    image.after(cursor);
    cursor.style.left = `${image.offsetLeft + at[0] * image.offsetWidth}px`;
    cursor.style.top = `${image.offsetTop + at[1] * image.offsetHeight}px`;
  }, { signal });
}

/** What ipywidgets leave out for those who listen: names of pictures and sliders, and regions whose news is read out. */
function name(root) {
  const put = (element, key, text) => element.getAttribute(key) === text || element.setAttribute(key, text);
  for (const image of root.querySelectorAll("img")) {
    const touched = image.classList.contains("xai-touch");
    put(image, "alt", image.title + (touched ? ". Arrow keys move a cursor on it, Enter clicks." : ""));
    if (!touched) continue;
    put(image, "tabindex", "0");
    put(image, "data-lm-suppress-shortcuts", "true"); // or Lab takes the arrow keys
  }
  for (const handle of root.querySelectorAll(".noUi-handle")) {
    const slider = handle.closest(".widget-inline-hbox");
    put(handle, "data-lm-suppress-shortcuts", "true"); // or Notebook 7 takes the arrow keys
    put(handle, "aria-label", slider?.querySelector(".widget-label")?.textContent || "slider");
    put(handle, "aria-valuetext", slider?.querySelector(".widget-readout")?.textContent || "");
  }
  for (const role of ["status", "alert"]) root.querySelectorAll(`.xai-${role}-line`).forEach((e) => put(e, "role", role));
}

// not Run > Run All Cells: without any kernel, JupyterLab 4.6 starts one for the first cell and leaves out the others
const STOPPED = "The kernel has stopped, so nothing here answers. Choose Kernel > Restart Kernel and Run All Cells.";
const LOST = "The connection to the kernel is lost. Wait a moment, or reload the page.";
const GONE = ["restarting", "autorestarting", "terminating", "dead"];

/** Say it in the explorer when its kernel is gone: the widgets still look alive. */
function watch(root, session, signal) {
  const line = document.createElement("div"), own = session?.session?.kernel?.id;
  let stopped = false;
  line.className = "xai-gone";
  line.setAttribute("role", "alert");
  root.prepend(line);
  signal.addEventListener("abort", () => line.remove());
  function look() {
    const kernel = session.session?.kernel;
    stopped = stopped || kernel?.id !== own || GONE.includes(kernel.status);
    line.textContent = stopped ? STOPPED : kernel.connectionStatus === "connected" ? "" : LOST;
  }
  for (const changed of session ? [session.statusChanged, session.connectionStatusChanged, session.kernelChanged] : []) {
    changed.connect(look);
    signal.addEventListener("abort", () => changed.disconnect(look));
  }
}

const VIEW = "application/vnd.jupyter.widget-view+json";

/** Save a widget as the picture or the text that stands beside it: the next kernel does not know the widget. */
function savePictures(notebook) {
  const whole = notebook.toJSON.bind(notebook);
  notebook.savesPictures = true;
  notebook.toJSON = () => {
    const book = whole();
    for (const output of book.cells.flatMap((cell) => cell.outputs ?? [])) {
      const { [VIEW]: view, ...rest } = output.data ?? {};
      if (!view || !(rest["image/jpeg"] || rest["text/html"])) continue;
      output.data = rest;
      output.metadata = { ...output.metadata, xai_view: view };
    }
    return book;
  };
}

/** After the page was loaded again: widgets that this kernel does know, in place of their pictures. */
async function bringBack(notebook, manager) {
  for (const { outputs } of [...notebook.cells].filter((cell) => cell.type === "code"))
    for (let i = 0; i < outputs.length; i++) {
      const view = outputs.get(i).metadata.xai_view;
      if (!view || !(await manager.get_model(view.model_id).catch(() => null))) continue;
      const { xai_view, ...metadata } = outputs.get(i)?.metadata ?? {}, output = outputs.get(i)?.toJSON();
      if (xai_view) outputs.set(i, { ...output, metadata, data: { ...output.data, [VIEW]: view } });
    }
}

function initialize({ model }) {
  const manager = model.widget_manager, notebook = manager?.context?.model; // of JupyterLab and Notebook 7
  if (!notebook?.cells || notebook.savesPictures) return;
  savePictures(notebook);
  bringBack(notebook, manager);
}

function render({ model, el }) {
  const stopped = new AbortController(), seen = new MutationObserver(() => name(el.closest(".xai-explorer") ?? el));
  (function start() {
    const root = el.closest(".xai-explorer");
    if (stopped.signal.aborted) return;
    if (!root) return setTimeout(start, 50); // not on the page yet
    touchable(root, model, stopped.signal);
    watch(root, model.widget_manager?.context?.sessionContext, stopped.signal);
    seen.observe(root, { subtree: true, childList: true, attributeFilter: ["class", "title"] });
    name(root);
  })();
  return () => { stopped.abort(); seen.disconnect(); };
}
export default { initialize, render };
