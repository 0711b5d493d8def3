"""How a neuron's card looks: in any page, and as a page of its own."""

# it follows a page's own colours where it has any, and else the reader's theme; maps lie on white
# in the dark too, or faint and strong would look alike
STYLE = """
.np-neuron{line-height:1.4;max-width:48rem;font-family:system-ui,sans-serif;font-size:.95rem}
.np-neuron .np-name{font-size:1.25rem;margin:0 0 .2rem;overflow-wrap:anywhere}
.np-neuron :is(h2,h3).np-part{font-size:1.05rem;margin:1.3rem 0 .3rem}
.np-neuron p{margin:.3rem 0}
.np-neuron .np-scroll{overflow-x:auto}
.np-neuron table{border-collapse:collapse;font-size:.875rem;margin:.3rem 0;width:100%}
.np-neuron caption{text-align:left;font-weight:600;padding-bottom:.2rem}
.np-neuron :is(th,td){padding:.15rem .7rem .15rem 0;text-align:left;font-weight:400;
border-bottom:1px solid color-mix(in srgb,currentColor 25%,transparent);vertical-align:baseline;
background:none}
.np-neuron thead th{font-weight:600}
.np-neuron :is(td,.np-number){text-align:right;font-variant-numeric:tabular-nums}
.np-neuron .np-words{text-align:left}
.np-neuron .np-missing{font-style:italic}
.np-neuron .np-tiles{display:grid;gap:.6rem;
grid-template-columns:repeat(auto-fill,minmax(6.2rem,1fr))}
.np-neuron figure{margin:0}
.np-neuron figcaption{font-size:.8rem;font-variant-numeric:tabular-nums}
.np-neuron .np-tile{position:relative;overflow:hidden;background:#fff;aspect-ratio:var(--ratio);
margin-bottom:2px}
.np-neuron .np-tile>*{position:absolute;left:0;top:0;width:100%;height:100%;
image-rendering:var(--pixels);print-color-adjust:exact;background-repeat:no-repeat;
background-position:var(--at) 0;background-size:900% 100%}
.np-neuron .np-seen{background-image:var(--images)}
.np-neuron .np-under{filter:grayscale(1);opacity:.35}
.np-neuron .np-tile .np-map{background-image:var(--maps);width:var(--wide);height:var(--high);
image-rendering:pixelated}
.np-neuron .np-pair{display:flex;flex-wrap:wrap;gap:1rem}
.np-neuron .np-pair img{width:7rem;image-rendering:pixelated;display:block}
"""
PAGE_STYLE = """
:root{color-scheme:light dark}
body{margin:0 auto;padding:1.2rem;max-width:48rem;background:#fff;color:#1a1a1a;
font-family:system-ui,sans-serif}
nav{font-size:.9rem;margin-bottom:.6rem}
a{color:#0a4f9e}
@media (prefers-color-scheme:dark){body{background:#14181e;color:#e6e6e6}a{color:#8ab8f8}}
"""
