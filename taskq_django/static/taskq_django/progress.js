// Keeps the bars of {% taskq_progress %} up to date while they can be seen. Without this file a reload does the same.
// A module, so that it runs once however many bars a page has. For a bar that comes later: import { follow } from here.
const EVERY = 1000; // milliseconds between two looks
const LONGEST = 30000; // while nobody answers

export const follow = (box) => {
  const bar = box.querySelector(".taskq-progress-bar");
  const status = box.querySelector(".taskq-progress-state");
  let pause = EVERY;
  let timer = 0;
  let isAsking = false;
  let isOver = bar.querySelector("[data-taskq-over]") !== null;

  const show = (fresh) => {
    const { taskqState: state, taskqLabel: label } = fresh.dataset;
    if (!bar.firstElementChild?.isEqualNode(fresh)) bar.replaceChildren(fresh);
    if (status && status.textContent !== label) status.textContent = label; // only a change is read aloud
    if (!("taskqOver" in fresh.dataset)) return;
    isOver = true;
    box.dispatchEvent(new CustomEvent("taskq:over", { bubbles: true, detail: { state } }));
  };

  const look = async () => {
    if (isAsking || isOver) return;
    isAsking = true;
    try {
      const answer = await fetch(box.dataset.taskqProgress, { credentials: "same-origin", cache: "no-store" });
      if (answer.status === 404) isOver = true; // its result is kept no more
      if (!answer.ok) throw new Error(answer.status);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.querySelector("[data-taskq-state]");
      if (!fresh) throw new Error("no bar"); // a page to sign in, say
      pause = EVERY;
      show(document.adoptNode(fresh));
    } catch {
      pause = Math.min(2 * pause, LONGEST);
    } finally {
      isAsking = false;
      later();
    }
  };

  const later = () => {
    clearTimeout(timer);
    if (!isOver && !document.hidden && box.isConnected) timer = setTimeout(look, pause);
  };

  document.addEventListener("visibilitychange", () => (document.hidden ? later() : look()));
  later();
};

for (const box of document.querySelectorAll("[data-taskq-progress]")) follow(box);
