// Asks how the target stands, and loads the page once it is ready and not before.
"use strict";
(() => {
  const main = document.getElementById("progress");
  const bar = document.getElementById("bar");
  const told = document.getElementById("told");
  const url = main.dataset.status + "?path=" + encodeURIComponent(main.dataset.path);
  let shown = told.textContent;
  let shownAt = Number(main.dataset.elapsed);

  const tell = (text) => {
    if (text !== shown) {
      shown = text;
      told.textContent = text;
    }
  };

  const show = (status) => {
    if (status.failure) {
      bar.hidden = true;
      tell(status.failure + ". Looking again helps once that is mended.");
      return;
    }
    bar.hidden = false;
    const elapsed = status.elapsed_s;
    if (status.expected_s) {
      bar.max = status.expected_s;
      bar.value = Math.min(elapsed, status.expected_s);
    }
    // The text is read aloud when it changes, so it changes seldom.
    if (elapsed >= shownAt && elapsed < shownAt + 5) {
      return;
    }
    shownAt = elapsed;
    if (status.expected_s) {
      tell(elapsed > status.expected_s
        ? elapsed + " s so far; that is longer than the usual " + status.expected_s + " s."
        : elapsed + " s so far; it takes about " + status.expected_s + " s.");
    } else {
      tell(elapsed + " s so far.");
    }
  };

  const look = async () => {
    try {
      const answer = await fetch(url, { cache: "no-store" });
      const status = await answer.json();
      if (status.ready) {
        location.reload();
        return;
      }
      show(status);
    } catch {
      tell("The proxy does not answer; trying again.");
    }
    setTimeout(look, 1000);
  };
  setTimeout(look, 500);
})();
