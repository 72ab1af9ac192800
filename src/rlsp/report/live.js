"use strict";
/* Asks the server, now and then, whether the run has got further, and loads the page again; while somebody reads the responses
   it only offers to. */
{
  const shown = document.documentElement.dataset.live;
  const offer = document.getElementById("newer");
  const reading = () => document.activeElement?.closest("#explorer") ?? false;
  offer.addEventListener("click", () => location.reload());
  const timer = setInterval(async () => {
    let version;
    try {
      version = await (await fetch(`/version${location.search}`)).json();
    } catch {
      document.getElementById("live").textContent = "The server is gone: this page stays as it is.";
      clearInterval(timer);
      return;
    }
    if (version === shown) return;
    if (reading()) offer.hidden = false;
    else location.reload();
  }, 3000);
}
