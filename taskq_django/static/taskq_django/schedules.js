// The form of a schedule: fields for the chosen task, quick picks, and a preview while it is filled in.
// Without this file two buttons do the same.
"use strict";
{
  const byId = (id) => document.getElementById(id);
  const preview = byId("taskq-preview");
  const argumentsBox = byId("taskq-arguments");
  const task = byId("id_task_path");
  const spec = byId("id_spec");

  if (preview && spec) {
    document.documentElement.classList.add("taskq-has-js");
    const form = spec.form;
    const kinds = () => form.querySelectorAll('input[name="kind"]');

    const fetchPiece = async (url, values) => {
      const answer = await fetch(`${url}?${new URLSearchParams(values)}`, { credentials: "same-origin" });
      if (!answer.ok) throw new Error(answer.status);
      return answer.text();
    };

    // The moments again, by the clock of this browser, where that is another than the one they are shown by.
    const showOwnTime = () => {
      const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
      let differs = false;
      for (const element of preview.querySelectorAll("time")) {
        const moment = new Date(element.dateTime);
        const own = new Date(moment - moment.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
        differs ||= own !== element.dateTime.slice(0, 19);
        element.textContent = moment.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
      }
      for (const element of preview.querySelectorAll(".taskq-zone")) element.textContent = zone;
      for (const element of preview.querySelectorAll(".taskq-yours")) element.hidden = !differs;
    };

    const moment = (name) => {
      const day = byId(`id_${name}_0`)?.value ?? "";
      return day ? `${day} ${byId(`id_${name}_1`)?.value || "00:00"}` : "";
    };

    // An interval knows no clocks.
    const zone = byId("id_timezone");
    const showZone = () => {
      const row = zone?.closest(".form-row");
      if (row) row.hidden = [...kinds()].some((input) => input.checked && input.value === "interval");
    };

    let asked = 0;
    const update = async () => {
      const mine = ++asked;
      preview.classList.add("taskq-waiting");
      const kind = [...kinds()].find((input) => input.checked)?.value ?? "";
      const { anchor = "", ran = "" } = preview.dataset;
      const values = { kind, anchor, ran, spec: spec.value, timezone: zone?.value ?? "", start: moment("start_at"), end: moment("end_at") };
      for (const name of ["max_runs", "jitter"]) values[name] = byId(`id_${name}`)?.value ?? "";
      values.enabled = byId("id_enabled")?.checked ?? true;
      try {
        const piece = await fetchPiece(preview.dataset.url, values);
        if (mine !== asked) return; // an answer to an older question
        preview.innerHTML = piece;
        showOwnTime();
      } catch {
        // Offline or signed out: the form says so when it is sent.
      } finally {
        if (mine === asked) preview.classList.remove("taskq-waiting");
      }
    };

    let timer;
    const soon = () => {
      clearTimeout(timer);
      timer = setTimeout(update, 300);
    };
    const $ = window.django?.jQuery;
    for (const input of kinds()) {
      input.addEventListener("change", soon);
      input.addEventListener("change", showZone);
    }
    showZone();
    for (const id of ["id_spec", "id_start_at_0", "id_start_at_1", "id_end_at_0", "id_end_at_1", "id_max_runs", "id_jitter"]) {
      byId(id)?.addEventListener("input", soon);
      byId(id)?.addEventListener("focus", soon);
    }

    byId("id_enabled")?.addEventListener("change", soon);

    const onChange = (select, act) => {
      // select2 tells jQuery only.
      if ($?.fn?.select2) $(select).on("change", act);
      else select.addEventListener("change", act);
    };
    if (zone) onChange(zone, soon);

    if (task && argumentsBox) {
      let chosen = 0;
      let shown = task.value;
      const filledIn = new Map(); // by task: who comes back to one finds what was there
      const inputs = () => argumentsBox.querySelectorAll('[name^="arg-"]');
      onChange(task, async () => {
        const mine = ++chosen;
        try {
          const piece = await fetchPiece(argumentsBox.dataset.url, { task: task.value });
          if (mine !== chosen) return;
          filledIn.set(shown, new Map([...inputs()].map((input) => [input.name, input.value])));
          shown = task.value;
          argumentsBox.innerHTML = piece;
          for (const input of inputs()) input.value = filledIn.get(shown)?.get(input.name) ?? input.value;
        } catch {
          // As above.
        }
      });
    }

    const picks = document.querySelector(".taskq-picks");
    if (picks) {
      picks.hidden = false;
      picks.addEventListener("click", ({ target }) => {
        if (!target.dataset.spec) return;
        for (const input of kinds()) input.checked = input.value === target.dataset.kind;
        spec.value = target.dataset.spec;
        showZone();
        update();
      });
    }

    if ($?.fn?.select2) {
      // Of a chosen task the whole path, and not only what stands in its group.
      const templateSelection = ({ text, element }) => [element?.parentElement?.label, text].filter(Boolean).join(".");
      for (const select of [task, zone]) {
        if (select?.tagName !== "SELECT") continue;
        $(select).select2({ theme: "admin-autocomplete", width: "min(32em, 100%)", templateSelection });
      }
    }
    if (preview.querySelector("time")) showOwnTime();
  }
}
