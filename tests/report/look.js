// Runs in the page: what cannot be seen from outside is written into its title.
window.addEventListener("load", function () {
  function all(what) { return Array.from(document.querySelectorAll(what)); }
  var said = {wide: document.documentElement.scrollWidth - window.innerWidth, order: [], images: document.images.length};
  said.headings = all("h2").map(function (h) { return h.textContent; });
  said.broken = Array.from(document.images).filter(function (i) { return !i.naturalWidth; }).length;
  said.hidden = all("svg").filter(function (s) {
    return !s.getBoundingClientRect().width && !s.closest("details");
  }).length;
  said.cut = all("svg.spread text, svg.chart text, svg.spikes text").filter(function (t) {
    var box = t.getBoundingClientRect(), own = t.ownerSVGElement.getBoundingClientRect();
    return box.width && (box.left < own.left - 2 || box.right > own.right + 2 || box.bottom > own.bottom + 2);
  }).map(function (t) { return t.textContent; });
  var table = document.querySelector("table.sortable"), heads = table.querySelectorAll("thead th");
  function column(k) {
    said.order.push(Array.from(table.tBodies[0].rows).map(function (r) { return r.cells[k].textContent.trim(); }));
  }
  column(0);
  heads[3].click();
  column(3);
  heads[3].click();
  column(3);
  heads[0].click();
  column(0);
  document.title = "SAID" + JSON.stringify(said) + "END";
});
