// A player of the web book: the controls of an explorer choose among frames that were computed beforehand.
// Its data stands in the page (see tools/book/frames.py): title, controls, frames in the order of the controls'
// positions, the last control fastest. Plain browser controls, so the keyboard, touch and screen readers work.
(() => {
  "use strict";

  function make(tag, attributes = {}, text = "") {
    const element = Object.assign(document.createElement(tag), attributes);
    if (text) element.textContent = text;
    return element;
  }

  // A slider with its value beside it.
  function slider(control, id, moved) {
    const line = make("div", { className: "xp-control" });
    const name = make("label", { htmlFor: id }, control.label);
    const input = make("input", { type: "range", id, min: 0, max: control.positions.length - 1, step: 1 });
    input.value = control.start;
    const value = make("output", { htmlFor: id });
    const tell = () => {
      value.textContent = control.positions[input.value];
      input.setAttribute("aria-valuetext", value.textContent);
    };
    input.addEventListener("input", () => { tell(); moved(Number(input.value)); });
    tell();
    line.append(name, input, value);
    return line;
  }

  // Up to five short choices side by side, more in a menu.
  function choice(control, id, moved) {
    const short = control.positions.length <= 5 && control.positions.join("").length <= 60;
    if (!short) {
      const line = make("div", { className: "xp-control" });
      const select = make("select", { id });
      control.positions.forEach((text, i) => select.append(make("option", { value: i }, text)));
      select.value = control.start;
      select.addEventListener("input", () => moved(Number(select.value)));
      line.append(make("label", { htmlFor: id }, control.label), select);
      return line;
    }
    const line = make("fieldset", { className: "xp-control xp-choices" });
    line.append(make("legend", {}, control.label));
    control.positions.forEach((text, i) => {
      const input = make("input", { type: "radio", name: id, id: `${id}-${i}`, checked: i === control.start });
      input.addEventListener("input", () => moved(i));
      line.append(input, make("label", { htmlFor: input.id }, text));
    });
    return line;
  }

  function panel(entry, where) {
    const box = make("div", { className: entry.chart || entry.width > 400 ? "xp-panel xp-large" : "xp-panel" });
    box.style.setProperty("--part", entry.width);
    const picture = make("img", { src: `${where}/${entry.src}`, alt: entry.alt, className: entry.chart ? "xp-chart" : "" });
    picture.style.aspectRatio = entry.ratio;
    box.append(make("div", { className: "xp-panel-title" }, entry.title), picture);
    if (entry.scale) box.append(make("div", { innerHTML: entry.scale }));
    if (entry.caption) box.append(make("div", { className: "xp-caption" }, entry.caption));
    return box;
  }

  function start(player) {
    const data = JSON.parse(player.querySelector("script").textContent);
    const [stage, below] = player.querySelectorAll(".xp-stage");
    const sentence = player.querySelector(".xp-sentence");
    const place = data.controls.map((control) => control.start);
    const number = () => place.reduce((sum, at, i) => sum * data.controls[i].positions.length + at, 0);

    function show(index) {
      const frame = data.frames[index];
      sentence.textContent = frame.sentence;
      for (const [box, under] of [[stage, false], [below, true]]) {
        box.replaceChildren(...frame.panels.filter((one) => one.below === under).map((one) => panel(one, data.where)));
      }
      player.dataset.frame = index;
    }

    // Once a hand comes near, all images are fetched; a frame is shown when its images are there, the latest one wins.
    const fetched = new Map();
    function fetchImage(source) {
      if (!fetched.has(source)) {
        const image = make("img", { src: `${data.where}/${source}` });
        fetched.set(source, image.decode().catch(() => {}));
      }
      return fetched.get(source);
    }
    const fetchAll = () => data.frames.forEach((frame) => frame.panels.forEach((one) => fetchImage(one.src)));
    for (const hint of ["pointerenter", "focusin", "touchstart"]) {
      player.addEventListener(hint, fetchAll, { once: true, passive: true });
    }
    async function moved() {
      const index = number();
      await Promise.all(data.frames[index].panels.map((one) => fetchImage(one.src)));
      if (index === number()) show(index);
    }

    data.controls.forEach((control, i) => {
      const build = control.kind === "slider" ? slider : choice;
      player.querySelector(".xp-controls").append(
        build(control, `${player.id}-${i}`, (at) => { place[i] = at; moved(); }));
    });
    show(number());
  }

  document.addEventListener("DOMContentLoaded", () => document.querySelectorAll(".xai-player").forEach(start));
})();
