// What the three explorers share: elements made, numbers written, labelled controls.

/** An element with attributes (a function is a listener, false or null leaves one out) and
    children, elements or text. */
function make(tag, attributes = {}, ...children) {
  const space = ["svg", "line", "rect", "circle", "path", "text", "g", "title"].includes(tag)
    ? "http://www.w3.org/2000/svg" : "http://www.w3.org/1999/xhtml";
  const element = document.createElementNS(space, tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== false && value !== null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** A probability with three digits, as the library's tables have it. */
function share(value) {
  return value.toFixed(3);
}

function signed(value, digits) {
  return `${value < 0 ? "\u2212" : "+"}${Math.abs(value).toFixed(digits)}`;
}

/** A labelled native choice; options are [value, text] pairs. */
function select(label, options, chosen, listener) {
  const box = make("select", {"aria-label": label, change: () => listener(box.value)},
    ...options.map(([value, text]) => make("option", {value, selected: value === chosen && ""}, text)));
  return make("label", {class: "np-choice"}, make("span", {}, label), box);
}

/** One choice out of a few, all of them in sight; content makes what a label shows. */
function radios(legend, name, options, chosen, listener, content = (text) => text) {
  return make("fieldset", {class: "np-radios"}, make("legend", {}, legend),
    ...options.map(([value, text]) => make("label", {},
      make("input", {type: "radio", name, value, checked: value === chosen && "",
        change: () => listener(value)}), content(text, value))));
}

/** The head of a table; a column without a name gets no header. */
function heads(names, numbers) {
  return make("thead", {}, make("tr", {}, ...names.map((name, index) => name
    ? make("th", {scope: "col", class: numbers.includes(index) && "np-number"}, name)
    : make("td"))));
}

/** A row of a bar chart: a bar from 0 to 1 with a mark, as a table cell. */
function bar(value, mark, chosen) {
  return make("td", {class: "np-bar"}, make("div", {class: "np-track", "aria-hidden": "true"},
    make("div", {class: chosen ? "np-fill np-strong" : "np-fill",
      style: `width:${100 * value}%`}),
    mark === null ? null : make("div", {class: "np-mark", style: `left:${100 * mark}%`})));
}

/** What a script shows takes the place of what stands there without one, which stays folded. */
function replaceStatic(box, live) {
  const fixed = box.querySelector(".np-static");
  const folded = make("details", {class: "np-folded"},
    make("summary", {}, fixed.dataset.summary));
  fixed.before(live, folded);
  folded.append(fixed);
}

/** The text of a script element with weights; a page may have moved it to a file of its own, which
    adds it to npNetworks, so that it is loaded from a disk too. */
function weightsOf(element) {
  if (!element.dataset.src) return Promise.resolve(element.textContent);
  return new Promise((resolve, reject) => {
    const file = make("script", {src: element.dataset.src, error: () => reject(new Error(
      `${element.dataset.src} is not there`)),
    load: () => resolve(window.npNetworks[element.dataset.src.split("/").pop()])});
    document.head.append(file);
  });
}
