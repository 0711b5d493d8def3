// The pruning slider: how many neurons of each block are kept, and what accuracy is left.

function pruningSlider(box) {
  const data = JSON.parse(box.querySelector("script[type='application/json']").textContent);
  const live = make("div", {class: "np-live"}), body = make("tbody");
  const status = make("p", {class: "np-status", role: "status"});
  // with none kept all ways are one; it opens at the number that the paper speaks of
  const state = {data: data.rows[0].data, mask: data.rows[0].mask, tokens: data.rows[0].tokens,
    top: Math.max(0, data.tops.indexOf(data.start))};
  const values = (name) => [...new Set(data.rows.map((row) => row[name]))];
  const output = make("output", {});

  function show() {
    const top = data.tops[state.top], whole = data.whole[state.data];
    const rows = data.rows.filter((row) => row.data === state.data && row.mask === state.mask
      && row.tokens === state.tokens && row.top === top);
    rows.sort((a, b) => b.value - a.value);
    output.textContent = `${top} of ${data.neurons}`;
    range.setAttribute("aria-valuetext", `${top} of ${data.neurons} neurons per block`);
    body.replaceChildren(...rows.map((row) => {
      const own = row.kept === data.path;
      return make("tr", {class: own ? "np-winner" : false}, make("th", {scope: "row"}, row.kept),
        bar(row.value, whole, own), make("td", {class: "np-number"}, row.value.toFixed(2)),
        make("td", {class: "np-number np-before"},
          `${row.low.toFixed(2)} to ${row.high.toFixed(2)}`));
    }));
    const path = rows.find((row) => row.kept === data.path);
    const equal = rows.filter((row) => path && row.value === path.value).length;
    const place = rows.filter((row) => path && row.value > path.value).length + 1;
    const rank = equal === rows.length ? `all ${equal} ways to choose are equal`
      : `number ${place} of ${rows.length} ways to choose${equal > 1 ? `, with ${equal - 1} other` +
        `${equal > 2 ? "s" : ""} equal` : ""}`;
    status.textContent = !path ? "" : `With ${top} of ${data.neurons} neurons per block ` +
      `kept, the path's keep an accuracy of ${path.value.toFixed(2)} (whole network ` +
      `${whole.toFixed(2)}): ${rank}.`;
  }

  const range = make("input", {type: "range", min: 0, max: data.tops.length - 1, step: 1,
    value: state.top,
    input: () => { state.top = Number(range.value); show(); }});
  const choice = (label, name) => select(label, values(name).map((text) => [text, text]),
    state[name], (value) => { state[name] = value; show(); });
  live.append(make("div", {class: "np-choices"}, choice("Pictures", "data"), choice("Mask", "mask"),
    choice("Zeroed at", "tokens")),
  make("label", {class: "np-choice np-wide"}, make("span", {}, "Neurons kept per block: ", output),
    range), status,
  make("table", {class: "np-grid np-bars"},
    make("caption", {}, `Test accuracy (${data.unit}); the mark is the whole network's`),
    heads(["Neurons kept", "", "Accuracy", "95 % interval"], [2, 3]),
    body));
  replaceStatic(box, live);
  show();
}
