// The path explorer: a picture, a network, a method; every neuron of the path on, off or doubled;
// the class probabilities by a forward pass of the network in the page.

const STATES = [["1", "on"], ["0", "off"], ["2", "×2"]];

function pathExplorer(box) {
  const data = JSON.parse(box.querySelector("script[type='application/json']").textContent);
  const networks = new Map();
  const state = {picture: 0, model: null, method: data.methods[0][0], factors: []};
  const live = make("div", {class: "np-live"});
  const status = make("p", {class: "np-status", role: "status"});
  let vit = null, path = null, clean = null, now = null;

  /** The chosen network, from weights in the page or from a file beside it. */
  async function network() {
    const key = state.model;
    if (!networks.has(key)) {
      const text = await weightsOf(box.querySelector(`script[data-network="${key}"]`));
      networks.set(key, new Vit(data.networks[key].settings, text));
    }
    return networks.get(key);
  }

  const picture = () => data.pictures[state.picture];
  const classes = () => data.networks[state.model].classes;

  function pixels(shown) {
    const {channels, side} = data.networks[state.model].settings;
    return new Rows(shown.values, shown.largest).row(channels * side * side);
  }

  /** Everything anew for another picture, network or method. */
  async function look() {
    if (!(state.model in picture().views)) state.model = Object.keys(picture().views)[0];
    const asked = JSON.stringify([state.picture, state.model, state.method]);
    live.setAttribute("aria-busy", "true");
    const found = await network();
    if (asked !== JSON.stringify([state.picture, state.model, state.method])) return;
    path = picture().views[state.model].paths[state.method];
    vit = found;
    clean = vit.look(pixels(picture()));
    compare();
    state.factors = path.neurons.map(() => 1);
    draw();
    run();
    live.removeAttribute("aria-busy");
  }

  function edits() {
    return path.neurons.map((neuron, block) => ({block, neuron, factor: state.factors[block]}));
  }

  /** The forward pass, and all that follows from it. */
  function run() {
    now = vit.edited(edits());
    // for whoever compares the page's numbers with the library's
    box.dataset.probabilities = JSON.stringify(now.probabilities);
    box.dataset.clean = JSON.stringify(clean.probabilities);
    drawBars();
    drawLine();
    drawActivations();
    tell();
  }

  /** What removal of each method's whole path leaves of the true class, side by side. */
  function compare() {
    const label = picture().label, before = clean.probabilities[label];
    const paths = picture().views[state.model].paths;
    const left = data.compared.map((method) => vit.edited(paths[method].neurons.map(
      (neuron, block) => ({block, neuron, factor: 0}))).probabilities[label]);
    box.dataset.compared = JSON.stringify(left);
    compared.replaceChildren(...data.compared.map((method, index) => labelRow(
      method, left[index], before, method === state.method)));
  }

  function labelRow(name, value, before, strong) {
    return make("tr", {}, make("th", {scope: "row"}, name), bar(value, before, strong),
      make("td", {class: "np-number"}, share(value)),
      make("td", {class: "np-number np-before"}, share(before)));
  }

  function set(block, factor) {
    state.factors[block] = factor;
    const control = live.querySelector(`input[name="${box.id}-${block}"][value="${factor}"]`);
    control.checked = true;
    run();
  }

  function setAll(factor) {
    state.factors.fill(factor);
    for (const control of live.querySelectorAll(`.np-neurons input[value="${factor}"]`)) {
      control.checked = true;
    }
    run();
  }

  function tell() {
    const label = picture().label, names = classes();
    const off = state.factors.filter((factor) => factor === 0).length;
    const twice = state.factors.filter((factor) => factor === 2).length;
    const count = state.factors.length;
    const done = [off ? `${off} off` : "", twice ? `${twice} doubled` : ""].filter(Boolean);
    const before = clean.probabilities, after = now.probabilities;
    const winner = (values) => names[values.indexOf(Math.max(...values))];
    const changed = winner(after) === winner(before) ? `still read as ${winner(after)}`
      : `read as ${winner(after)} instead of ${winner(before)}`;
    status.textContent = done.length
      ? `Of ${count} neurons on the path, ${done.join(" and ")}. True class ${names[label]}: ` +
        `${share(before[label])} → ${share(after[label])} ` +
        `(${signed(after[label] - before[label], 3)}); ${changed}.`
      : `All ${count} neurons of the path are on. True class ${names[label]}: ` +
        `${share(after[label])}; read as ${winner(after)}.`;
  }

  // --- what is drawn ---

  const line = make("div", {class: "np-line"});
  const table = make("tbody"), bars = make("tbody"), own = make("tbody"), compared = make("tbody");

  function place(block, neuron, width, height) {
    const count = path.neurons.length, left = 34, right = 12, top = 8, bottom = 22;
    const hidden = data.networks[state.model].settings.hidden;
    return [left + (block + 0.5) * (width - left - right) / count,
      top + (neuron + 0.5) * (height - top - bottom) / hidden];
  }

  function drawLine() {
    const width = Math.max(280, line.clientWidth || 640), height = 230;
    const count = path.neurons.length, hidden = data.networks[state.model].settings.hidden;
    const column = Math.min(16, 0.36 * (width - 46) / count), cell = (height - 30) / hidden;
    const svg = make("svg", {viewBox: `0 0 ${width} ${height}`, width, height, role: "img",
      "aria-label": "The path: " + path.neurons.map((neuron, block) =>
        `block ${block + 1} neuron ${neuron}`).join(", ")});
    now.means.forEach((means, block) => {
      const most = Math.max(...means.map(Math.abs)) || 1;
      means.forEach((value, neuron) => {
        const [x, y] = place(block, neuron, width, height);
        svg.append(make("rect", {x: x - column / 2, y: y - cell / 2, width: column,
          height: cell, class: "np-cell", "fill-opacity": (0.06 + 0.9 * Math.abs(value) / most).toFixed(3)}));
      });
      const [x] = place(block, 0, width, height);
      svg.append(make("text", {x, y: height - 6, "text-anchor": "middle"}, String(block + 1)));
    });
    const [, low] = place(0, 0, width, height), [, high] = place(0, hidden - 1, width, height);
    svg.append(make("text", {x: 28, y: low + 6, "text-anchor": "end"}, "0"),
      make("text", {x: 28, y: high, "text-anchor": "end"}, String(hidden - 1)));
    const points = path.neurons.map((neuron, block) => place(block, neuron, width, height));
    for (let block = 1; block < count; block += 1) {
      const [[x1, y1], [x2, y2]] = [points[block - 1], points[block]];
      const broken = state.factors[block - 1] === 0 || state.factors[block] === 0;
      svg.append(make("line", {x1, y1, x2, y2, class: broken ? "np-broken" : "np-whole"}));
    }
    points.forEach(([x, y], block) => {
      const factor = state.factors[block];
      const mark = make("g", {class: `np-node np-node-${factor}`,
        click: () => set(block, {0: 2, 1: 0, 2: 1}[factor])},
      make("title", {}, `block ${block + 1}, neuron ${path.neurons[block]}`),
      make("circle", {cx: x, cy: y, r: factor === 2 ? 8 : 5.5}));
      if (factor === 0) {
        mark.append(make("path", {d: `M${x - 3.5} ${y - 3.5}l7 7m0 -7l-7 7`}));
      }
      if (factor === 2) mark.append(make("text", {x, y: y + 4, "text-anchor": "middle"}, "2"));
      svg.append(mark);
    });
    line.replaceChildren(svg);
  }

  function drawTable() {
    table.replaceChildren(...path.neurons.map((neuron, block) => make("tr", {},
      make("th", {scope: "row"}, String(block + 1)), make("td", {}, String(neuron)),
      make("td", {class: "np-number"}), make("td", {class: "np-number"},
        signed(path.attribution[block], 4)),
      make("td", {}, radios(`block ${block + 1}, neuron ${neuron}`, `${box.id}-${block}`, STATES,
        String(state.factors[block]), (value) => { state.factors[block] = Number(value); run(); })))));
  }

  function drawActivations() {
    [...table.rows].forEach((row, block) => {
      row.cells[2].textContent = signed(
        now.means[block][path.neurons[block]] * state.factors[block], 2);
    });
  }

  function drawBars() {
    const names = classes(), label = picture().label, values = now.probabilities;
    const winner = values.indexOf(Math.max(...values));
    own.replaceChildren(labelRow(names[label], values[label], clean.probabilities[label], true));
    bars.replaceChildren(...names.map((name, index) => make("tr",
      {class: index === winner ? "np-winner" : false},
      make("th", {scope: "row"}, name, index === label ? make("span", {class: "np-true"}, " true") : null),
      bar(values[index], clean.probabilities[index], index === label),
      make("td", {class: "np-number"}, share(values[index])),
      make("td", {class: "np-number np-before"}, share(clean.probabilities[index])))));
  }

  /** The controls for what was chosen: a network that a picture has, the path's neurons. */
  function draw() {
    drawTable();
    models.replaceChildren(...Object.keys(picture().views).map((value) => make("option",
      {value, selected: value === state.model && ""}, data.networks[value].name)));
  }

  const choices = make("div", {class: "np-choices"},
    select("Network", [], null, (value) => { state.model = value; look(); }),
    select("Path found by", data.methods, state.method,
      (value) => { state.method = value; look(); }));
  const models = choices.querySelector("select");
  live.append(
    radios("Picture", `${box.id}-picture`, data.pictures.map((each, index) => [String(index), each.name]),
      "0", (value) => { state.picture = Number(value); look(); },
      (text, value) => make("span", {class: "np-thumb"},
        make("img", {src: data.pictures[value].image, alt: "", width: 48, height: 48}), make("span", {}, text))),
    choices, line, make("p", {class: "np-note"},
      "Columns are blocks, from the first to the last; cells are neurons, darker the larger their " +
      "activation at the tokens that are edited; the line is the path."),
    status,
    make("table", {class: "np-grid np-own"},
      make("caption", {}, "True class, with the switches as they are (mark: before)"),
      heads(["Class", "", "Now", "Before"], [2, 3]), own),
    data.compared.length > 1 ? make("table", {class: "np-grid np-compared"},
      make("caption", {}, "True class, each whole path removed (mark: before)"),
      heads(["Path by", "", "Removed", "Before"], [2, 3]), compared) : "",
    make("div", {class: "np-buttons"},
      make("button", {type: "button", click: () => setAll(1)}, "All on"),
      make("button", {type: "button", click: () => setAll(0)}, "Remove the path"),
      make("button", {type: "button", click: () => setAll(2)}, "Double the path")),
    make("div", {class: "np-columns"},
      make("div", {class: "np-left"}, make("table", {class: "np-grid np-neurons"},
        make("caption", {}, "Neurons of the path"),
        heads(["Block", "Neuron", "Activation", "Attribution", "Switch"], [2, 3]), table)),
      make("div", {class: "np-right"}, make("table", {class: "np-grid np-bars"},
        make("caption", {}, "Class probabilities (mark: before)"),
        heads(["Class", "", "Now", "Before"], [2, 3]), bars))));
  let wide = 0;
  const widths = new ResizeObserver(() => {
    if (line.clientWidth !== wide) {
      wide = line.clientWidth;
      drawLine();
    }
  });
  // what stands there without a script stays until the first network is there
  look().then(() => {
    replaceStatic(box, live);
    drawLine();
    wide = line.clientWidth;
    widths.observe(line);
  });
}

/** The path explorer, as soon as it is in sight where its weights are not in the page. */
function startPathExplorer(box) {
  if (!box.querySelector("script[data-src]")) return pathExplorer(box);
  const sight = new IntersectionObserver((entries) => {
    if (entries.some((entry) => entry.isIntersecting)) {
      sight.disconnect();
      pathExplorer(box);
    }
  });
  sight.observe(box);
}
