// A box that scrolls is reached by the keyboard; one that does not is no stop on the way. Those
// that go on beyond the edge say so, tables on every screen.
(() => {
  const boxes = ".np-scroll, .np-figure, div.cell_output, div.highlight pre, div.math, mjx-container";
  const shown = ".np-scroll, .np-figure, figure.np-wide, .np-printed pre";
  const reach = () => {
    document.querySelectorAll(boxes).forEach(box => {
      if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
    });
    document.querySelectorAll(shown).forEach(box => {
      box.classList.toggle("np-goes-on", box.scrollWidth > box.clientWidth + 8);
    });
  };
  // equations have their width once they are set
  addEventListener("load", () => { setTimeout(reach); window.MathJax?.startup?.promise?.then(reach); });
  addEventListener("resize", reach);
  document.addEventListener("toggle", reach, true);
  if (document.readyState !== "loading") reach();
  else document.addEventListener("DOMContentLoaded", reach);
})();
