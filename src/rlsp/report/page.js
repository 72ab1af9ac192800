"use strict";
{
  const draw = (holder) => {
    const figure = JSON.parse(document.getElementById(holder.dataset.figure).textContent);
    Plotly.newPlot(holder, figure.data, figure.layout, { responsive: true, displayModeBar: false });
  };
  const near = new IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting) continue;
        near.unobserve(target);
        draw(target);
      }
    },
    { rootMargin: "800px" },
  );
  const holders = document.querySelectorAll("[data-figure]");
  for (const holder of holders) near.observe(holder);
  addEventListener("beforeprint", () => holders.forEach((holder) => holder.hasChildNodes() || draw(holder)));
}
{
  const button = document.getElementById("scheme");
  let dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const name = () => (button.textContent = dark ? "Light scheme" : "Dark scheme");
  button.addEventListener("click", () => {
    dark = !dark;
    document.documentElement.style.colorScheme = dark ? "dark" : "light";
    name();
  });
  name();
  button.hidden = false;
}
