// The console's manners: keys, completion, brushing, copying. Every page works without them.
"use strict";
(() => {
  const root = document.documentElement;
  const by = (id) => document.getElementById(id);
  let quiet;
  const say = (text) => {
    by("said").textContent = text;
    clearTimeout(quiet);
    quiet = setTimeout(() => (by("said").textContent = ""), 4000);
  };

  // Follow an address without a new page.
  const follow = (href) => {
    if (!window.htmx) {
      location.assign(href);
      return;
    }
    htmx.ajax("GET", href, {
      source: by("page"),
      target: "#page",
      select: "#page",
      swap: "outerHTML",
      push: "true",
    });
  };
  root.addEventListener("flowcost:follow", (event) => follow(event.detail));

  // Dark and light: the server reads the cookie, so that no page flashes.
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-theme-toggle]");
    if (!button) return;
    event.preventDefault();
    const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
    const theme = (root.dataset.theme ?? system) === "dark" ? "light" : "dark";
    root.dataset.theme = theme;
    document.cookie = `theme=${theme}; path=/; max-age=31536000; samesite=lax`;
    root.dispatchEvent(new Event("flowcost:redraw"));
    say(`${theme} colours`);
  });

  // Copying.
  const copied = async (text, what) => {
    try {
      await navigator.clipboard.writeText(text);
      say(`${what} copied`);
      return true;
    } catch {
      say(`${what} could not be copied`);
      return false;
    }
  };
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    const link = event.target.closest("[data-copy-href]");
    const file = event.target.closest("[data-copy-file]");
    if (link && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      if (await copied(link.href, "link")) link.textContent = "Link copied";
    }
    if (button && (await copied(by(button.dataset.copy).textContent, "text"))) {
      button.textContent = "Copied";
      setTimeout(() => (button.textContent = "Copy"), 1500);
    }
    if (file) {
      const answer = await fetch(file.dataset.copyFile).catch(() => null);
      if (answer?.ok) await copied(await answer.text(), "rows");
      else say("the server does not answer");
    }
  });

  // Completion of the filter: Ctrl-Space asks, arrows choose, Enter or Tab takes.
  const list = () => by("suggestions");
  const field = () => by("filter");
  let asked = 0;
  let shown = "";
  const close = () => {
    asked += 1; // an answer under way comes too late
    const found = list();
    if (!found) return;
    found.hidden = true;
    found.replaceChildren();
    field().setAttribute("aria-expanded", "false");
    field().removeAttribute("aria-activedescendant");
  };
  const complete = async () => {
    const input = field();
    const turn = ++asked;
    const url = new URL(input.dataset.complete, location.href);
    for (const [name, value] of new URLSearchParams(location.search)) {
      if (name !== "filter") url.searchParams.append(name, value);
    }
    url.searchParams.set("text", input.value);
    url.searchParams.set("cursor", input.selectionStart);
    const answer = await fetch(url, { headers: { "HX-Request": "true" } });
    const text = await answer.text();
    if (turn !== asked || !answer.ok || document.activeElement !== field()) return;
    const found = list();
    shown = input.value;
    // The answer is our own markup, escaped by the server like every page.
    found.replaceChildren(...new DOMParser().parseFromString(text, "text/html").querySelectorAll("li"));
    found.hidden = !found.children.length;
    input.setAttribute("aria-expanded", String(!found.hidden));
    choose(0);
  };
  const options = () => [...(list()?.querySelectorAll("li") ?? [])];
  const chosen = () => options().findIndex((item) => item.ariaSelected === "true");
  const choose = (index) => {
    const all = options();
    if (!all.length) return;
    const at = (index + all.length) % all.length;
    all.forEach((item, place) => (item.ariaSelected = String(place === at)));
    all[at].scrollIntoView({ block: "nearest" });
    field().setAttribute("aria-activedescendant", all[at].id);
  };
  // Until the next answer is there, the last one is cut to what was typed since.
  const narrow = () => {
    const { value, selectionStart: at } = field();
    for (const item of options()) {
      const start = Number(item.dataset.start);
      const typed = value.slice(start, at).replace(/^["']/, "").toLowerCase();
      const same = at >= start && value.slice(0, start) === shown.slice(0, start);
      if (same && item.dataset.text.toLowerCase().includes(typed)) item.dataset.end = String(at);
      else item.remove();
    }
    if (!options().length) close();
    else if (chosen() < 0) choose(0);
  };
  const take = (item) => {
    const input = field();
    const { text, start, end } = item.dataset;
    const before = input.value.slice(0, Number(start));
    const after = input.value.slice(Number(end));
    const gap = after.startsWith(" ") ? "" : " ";
    input.value = before + text + gap + after;
    const cursor = before.length + text.length + 1;
    input.setSelectionRange(cursor, cursor);
    complete();
  };
  document.addEventListener("input", (event) => {
    if (event.target !== field()) return;
    narrow();
    complete();
  });
  document.addEventListener("mousedown", (event) => {
    const item = event.target.closest?.("#suggestions li");
    if (item) {
      event.preventDefault();
      take(item);
    } else if (event.target !== field()) close();
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      if (!menu.contains(event.target)) menu.open = false;
    }
  });
  document.addEventListener("focusout", (event) => {
    if (event.target === field()) close();
  });
  const inFilter = (event) => {
    const open = !list().hidden;
    if (event.key === "Escape") {
      close();
      if (!open) return;
    } else if (event.key === " " && event.ctrlKey) complete();
    else if (open && event.key === "ArrowDown") choose(chosen() + 1);
    else if (open && event.key === "ArrowUp") choose(chosen() - 1);
    else if (open && (event.key === "Tab" || (event.key === "Enter" && !event.ctrlKey))) take(options()[chosen()]);
    else if (event.key === "Enter" && event.ctrlKey) field().form.requestSubmit();
    else return;
    event.preventDefault();
    event.stopPropagation();
  };

  // Keys.
  const rows = () => [...document.querySelectorAll("table[data-walk] tbody tr")];
  const step = (by) => {
    const all = rows();
    if (!all.length) return;
    const now = all.findIndex((row) => row.classList.contains("here"));
    const next = Math.min(Math.max(now + by, 0), all.length - 1);
    all.forEach((row, index) => row.classList.toggle("here", index === next));
    (all[next].querySelector("a.drill") ?? all[next].querySelector("a"))?.focus({ preventScroll: true });
    all[next].scrollIntoView({ block: "nearest" });
  };
  const openMenu = (key) => {
    const menu = document.querySelector(`details[data-menu="${key}"]`);
    if (!menu) return;
    menu.open = true;
    menu.querySelector("input:not([type=hidden]), a, button")?.focus();
  };
  const KEYS = {
    "/": () => field()?.focus(),
    g: () => openMenu("g"),
    t: () => openMenu("t"),
    j: () => step(1),
    k: () => step(-1),
    u: () => document.querySelector("[data-up]")?.click(),
    "?": () => by("help").showModal(),
  };
  document.addEventListener("keydown", (event) => {
    if (event.target === field()) {
      inFilter(event);
      return;
    }
    if (event.key === "Escape") {
      for (const menu of document.querySelectorAll("details.menu[open]")) {
        menu.open = false;
        menu.querySelector("summary").focus();
      }
    }
    const typing = event.target.closest?.("input, textarea, select, [contenteditable]");
    if (typing || event.ctrlKey || event.metaKey || event.altKey || by("help").open) return;
    const action = KEYS[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-help]")) return;
    event.preventDefault();
    by("help").showModal();
  });

  // A drag over the histogram cuts the time.
  root.addEventListener("flowcost:cut", ({ detail: { from, to } }) => {
    const url = new URL(location.href);
    url.searchParams.delete("last");
    url.searchParams.set("v", "1");
    url.searchParams.set("from", from);
    url.searchParams.set("to", to);
    follow(url.pathname + url.search);
  });

  // Group chips change places by dragging; the arrows beside them do the same.
  const regroup = (keys) => {
    const url = new URL(location.href);
    url.searchParams.set("v", "1");
    url.searchParams.set("by", keys.join(","));
    follow(url.pathname + url.search);
  };
  const draggable = () => {
    const chips = [...document.querySelectorAll(".chips li[data-key]")];
    if (chips.length < 2) return;
    for (const chip of chips) {
      chip.draggable = true;
      chip.addEventListener("dragstart", (event) => event.dataTransfer.setData("text/plain", chip.dataset.key));
      chip.addEventListener("dragover", (event) => {
        event.preventDefault();
        chip.classList.add("over");
      });
      chip.addEventListener("dragleave", () => chip.classList.remove("over"));
      chip.addEventListener("drop", (event) => {
        event.preventDefault();
        const moved = event.dataTransfer.getData("text/plain");
        const keys = chips.map((each) => each.dataset.key).filter((key) => key !== moved);
        keys.splice(chips.indexOf(chip), 0, moved);
        regroup(keys);
      });
    }
  };

  // After every page, first or swapped.
  let path = location.pathname;
  const settle = () => {
    for (const button of document.querySelectorAll("[data-copy], [data-copy-file]")) button.hidden = false;
    const wrong = document.querySelector(".trouble[data-position]");
    if (wrong && field()) {
      const at = Number(wrong.dataset.position);
      field().focus();
      field().setSelectionRange(at, Math.max(at + 1, field().value.length));
    }
    draggable();
    root.dataset.ready = String(Number(root.dataset.ready ?? 0) + 1);
  };
  document.addEventListener("htmx:after:swap", () => {
    root.dispatchEvent(new Event("flowcost:redraw"));
    // What had the focus is gone with its page: go on from the content, not from the top.
    if (document.activeElement === document.body) by("main").focus({ preventScroll: true });
    settle();
  });
  document.addEventListener("htmx:after:history:update", () => {
    if (path !== location.pathname) scrollTo(0, 0);
    path = location.pathname;
  });
  document.addEventListener("htmx:error", () => say("the server does not answer; try again"));
  settle();
})();
