// A box that scrolls is reached by the keyboard; one that does not is no stop on the way.
(() => {
  const boxes = ".np-scroll, .np-figure, div.cell_output, div.highlight pre, div.math, mjx-container";
  const reach = () => document.querySelectorAll(boxes).forEach(box => {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  });
  // equations have their width once they are set
  addEventListener("load", () => { setTimeout(reach); window.MathJax?.startup?.promise?.then(reach); });
  addEventListener("resize", reach);
  document.addEventListener("toggle", reach, true);
  if (document.readyState !== "loading") reach();
  else document.addEventListener("DOMContentLoaded", reach);
})();
