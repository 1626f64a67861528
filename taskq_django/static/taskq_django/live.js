// Renews the part of a page that changes, every five seconds: not while the tab is hidden, nor while somebody is about
// to do something there. Without this file the page is whole, and is loaded again by hand.
"use strict";
{
  const live = document.getElementById("taskq-live");
  if (live) {
    const EVERY = 5000;
    const bar = document.createElement("p");
    const told = document.createElement("span");
    const button = document.createElement("button");
    let isPaused = false;
    button.type = "button";
    button.className = "taskq-button";
    button.textContent = live.dataset.pause;
    bar.className = "taskq-refresh";
    bar.append(told, button);
    live.before(bar);

    const chosenAtFirst = (select) => Math.max(0, [...select.options].findIndex((each) => each.defaultSelected));
    const isChanged = (field) =>
      field.matches("select") ? field.selectedIndex !== chosenAtFirst(field) : field.value !== field.defaultValue;
    const isOpen = (field) => !field.closest("details:not([open])");

    // With the focus, or with something typed or chosen in it.
    const isInUse = () =>
      (live.contains(document.activeElement) &&
        document.activeElement.matches("input, select, textarea, button, summary")) ||
      [...live.querySelectorAll("input, select, textarea")].some((field) => isOpen(field) && isChanged(field));

    const tell = () => {
      told.textContent = new Date().toLocaleTimeString();
    };

    const renew = async () => {
      if (isPaused || document.hidden || isInUse()) return;
      const open = [...live.querySelectorAll("details[open][id]")].map((each) => each.id);
      try {
        const answer = await fetch(live.dataset.url, { credentials: "same-origin", redirect: "error" });
        if (!answer.ok) throw new Error(answer.status);
        const piece = await answer.text();
        if (isPaused || isInUse()) return;
        live.innerHTML = piece;
        for (const id of open) document.getElementById(id)?.setAttribute("open", "");
        tell();
      } catch {
        // Offline or signed out: what is shown grows old, as its time says.
      }
    };

    button.addEventListener("click", () => {
      isPaused = !isPaused;
      button.textContent = isPaused ? live.dataset.resume : live.dataset.pause;
      button.setAttribute("aria-pressed", String(isPaused));
      renew();
    });
    document.addEventListener("visibilitychange", renew);
    setInterval(renew, EVERY);
    tell();
  }
}
