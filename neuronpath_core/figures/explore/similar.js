// The similarity explorer: a class, and the others in order of how alike their paths are.

function similarityExplorer(box) {
  const data = JSON.parse(box.querySelector("script[type='application/json']").textContent);
  const live = make("div", {class: "np-live"});
  const state = {set: 0, index: 0};
  const most = 8, body = make("tbody"), typical = make("p", {class: "np-typical"});
  const status = make("p", {class: "np-status", role: "status"});

  const image = (set, index, size) => make("img", {src: set.images[index], alt: "", width: size,
    height: size});

  function show() {
    const set = data.sets[state.set], values = set.similarity[state.index];
    const order = set.classes.map((_, index) => index).filter((index) => index !== state.index)
      .sort((a, b) => values[b] - values[a] || a - b);
    const most_alike = order.slice(0, most), least = order[order.length - 1];
    const rows = order.length > most ? [...most_alike, least] : order;
    typical.replaceChildren(image(set, state.index, 72), make("span", {},
      `${set.classes[state.index]}: a typical picture (of its ${set.each} pictures, the nearest ` +
      "to their mean)"));
    body.replaceChildren(...rows.map((index) => make("tr", {},
      make("th", {scope: "row"}, make("span", {class: "np-thumb"}, image(set, index, 40),
        make("span", {}, set.classes[index]))),
      make("td", {}, index === least ? "least similar" : String(order.indexOf(index) + 1)),
      bar(values[index], null, index === most_alike[0]),
      make("td", {class: "np-number"}, values[index].toFixed(2)))));
    status.textContent = `Most like ${set.classes[state.index]}: ${set.classes[order[0]]} ` +
      `(cosine ${values[order[0]].toFixed(2)}); least: ${set.classes[least]} ` +
      `(${values[least].toFixed(2)}).`;
  }

  const options = () => data.sets[state.set].classes.map((name, index) => make("option",
    {value: index, selected: index === state.index && ""}, name));
  const classes = select("Class", [], null, (value) => { state.index = Number(value); show(); });

  live.append(make("div", {class: "np-choices"},
    select("Pictures", data.sets.map((set, index) => [String(index), set.name]), "0", (value) => {
      Object.assign(state, {set: Number(value), index: 0});
      classes.querySelector("select").replaceChildren(...options());
      show();
    }), classes), typical, status,
  make("table", {class: "np-grid np-bars"},
    make("caption", {}, "Cosine of the classes' utilisation of neurons"),
    heads(["Class", "Rank", "", "Cosine"], [3]),
    body));
  classes.querySelector("select").replaceChildren(...options());
  replaceStatic(box, live);
  show();
}
