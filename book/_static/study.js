// A box that scrolls is reached by the keyboard; one that does not is no stop on the way.
(() => {
  const boxes = ".np-scroll, .np-figure, div.cell_output, div.highlight pre, div.math";
  const reach = () => document.querySelectorAll(boxes).forEach(box => {
    if (box.scrollWidth > box.clientWidth + 1) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  });
  addEventListener("load", () => setTimeout(reach));
  addEventListener("resize", reach);
  document.addEventListener("toggle", reach, true);
  if (document.readyState !== "loading") reach();
  else document.addEventListener("DOMContentLoaded", reach);
})();
