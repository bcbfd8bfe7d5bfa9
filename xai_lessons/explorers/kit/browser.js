// What an explorer needs of the browser beyond ipywidgets: pictures that are touched. No address in it, so it works offline.

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

/** What ipywidgets leave out: the text of each picture for those who listen, and the way to it by the keyboard. */
function name(root) {
  for (const image of root.querySelectorAll("img")) {
    const touched = image.classList.contains("xai-touch");
    const alt = image.title + (touched ? ". Arrow keys move a cursor on it, Enter clicks." : "");
    if (image.alt !== alt) image.alt = alt;
    image.toggleAttribute("data-lm-suppress-shortcuts", touched); // or Lab takes the arrow keys
    touched ? (image.tabIndex = 0) : image.removeAttribute("tabindex");
  }
}

function render({ model, el }) {
  const stopped = new AbortController(), seen = new MutationObserver(() => name(el.closest(".xai-explorer")));
  (function start() {
    const root = el.closest(".xai-explorer");
    if (stopped.signal.aborted) return;
    if (!root) return setTimeout(start, 50); // not on the page yet
    touchable(root, model, stopped.signal);
    seen.observe(root, { subtree: true, childList: true, attributeFilter: ["class", "title"] });
    name(root);
  })();
  return () => { stopped.abort(); seen.disconnect(); };
}
export default { render };
