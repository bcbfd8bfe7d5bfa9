// The canvas of the eraser, in the browser. No address in it, so it works offline.
function render({ model, el }) {
  const side = model.get("side"), canvas = document.createElement("canvas"), bar = document.createElement("div");
  const picture = new Image(), filling = new Image(), brush = document.createElement("input"), words = document.createElement("label");
  const title = document.createElement("div");
  canvas.width = canvas.height = side;
  canvas.className = "xai-canvas";
  canvas.style.cssText = "cursor:crosshair;border-radius:4px;touch-action:none;width:100%";
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "The picture: paint over it. The sliders erase a rectangle instead.");
  Object.assign(brush, { type: "range", min: 2, max: 20, value: 6, className: "xai-brush" });
  brush.setAttribute("aria-label", "Size of the brush");
  words.append("Brush ", brush);
  words.style.cssText = "font-size:14px;display:flex;align-items:center;gap:8px";
  bar.append(words);
  title.className = "xai-panel-title";
  title.textContent = "Paint here";
  title.style.marginTop = "2px";
  el.append(title, canvas, bar);
  const pen = canvas.getContext("2d");
  let strokes = [], down = false, last = null, timer = null;
  function uncover(shape) {
    pen.save();
    pen.beginPath();
    shape();
    pen.clip();
    if (filling.naturalWidth) pen.drawImage(filling, 0, 0, side, side);
    pen.restore();
  }
  function dot([x, y, r]) {
    uncover(() => pen.arc(x * side, y * side, r * side, 0, 7));
  }
  function draw() {
    if (picture.naturalWidth) pen.drawImage(picture, 0, 0, side, side);
    strokes.forEach(dot);
    const [left, top, width, height] = model.get("box");
    if (width) uncover(() => pen.rect(left * side, top * side, width * side, height * side));
  }
  function load(image, name) {
    const bytes = model.get(name);
    if (!bytes || !bytes.byteLength) return;
    const address = URL.createObjectURL(new Blob([bytes], { type: "image/jpeg" }));
    image.onload = () => { URL.revokeObjectURL(address); draw(); };
    image.src = address;
  }
  const loadPicture = () => load(picture, "picture"), loadFilling = () => load(filling, "filling");
  function tell() {
    timer = null;
    model.set("strokes", strokes);
    model.save_changes();
  }
  function paint(event) {
    const box = canvas.getBoundingClientRect(), r = brush.value / 100;
    const to = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    const from = last || to, far = Math.hypot(to[0] - from[0], to[1] - from[1]);
    const count = Math.max(1, Math.ceil(far / (r / 2)));
    for (let i = 1; i <= count; i++) {
      const one = [0, 1].map((k) => Math.round(1000 * (from[k] + ((to[k] - from[k]) * i) / count)) / 1000);
      strokes = [...strokes, [...one, r]];
      dot(strokes[strokes.length - 1]);
    }
    last = to;
    timer = timer || setTimeout(tell, 60);
  }
  canvas.addEventListener("pointerdown", (event) => {
    down = true;
    canvas.setPointerCapture(event.pointerId);
    paint(event);
  });
  canvas.addEventListener("pointermove", (event) => { if (down) paint(event); });
  for (const name of ["pointerup", "pointercancel"])
    canvas.addEventListener(name, () => { down = false; last = null; });
  const heard = () => { if (!down && !timer) { strokes = [...model.get("strokes")]; draw(); } };
  model.on("change:strokes", heard);
  model.on("change:box", draw);
  model.on("change:picture", loadPicture);
  model.on("change:filling", loadFilling);
  strokes = [...model.get("strokes")];
  loadPicture();
  loadFilling();
  return () => {
    model.off("change:strokes", heard);
    model.off("change:box", draw);
    model.off("change:picture", loadPicture);
    model.off("change:filling", loadFilling);
  };
}
export default { render };
