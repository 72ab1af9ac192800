"use strict";
for (const holder of document.querySelectorAll("[data-figure]")) {
  const figure = JSON.parse(document.getElementById(holder.dataset.figure).textContent);
  Plotly.newPlot(holder, figure.data, figure.layout, { responsive: true, displayModeBar: false });
}
