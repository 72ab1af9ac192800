"use strict";
/* The sample explorer: every response that the page holds, searched, filtered and read, without a request. */
(async () => {
  const root = document.getElementById("explorer");
  if (!root) return;
  const find = (name) => root.querySelector(`[data-part="${name}"]`);
  const packed = Uint8Array.from(atob(document.getElementById("responses").textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const data = await new Response(stream).json();
  const { problem, group, sample, correct, length, cut, reason, answer, text, marks, advantages } = data.responses;
  const small = text.map((each) => each.toLowerCase());
  const questions = data.problems.map((each) => each.question.toLowerCase());
  const shows = marks.map((each) => {
    let bits = 0;
    for (let i = 2; i < each.length; i += 3) bits |= 1 << each[i];
    return bits;
  });
  const several = data.groups.map((_, g) => sample.some((each, i) => each > 0 && group[i] === g));
  const ROW = 46;
  const list = find("list"), rows = find("rows"), count = find("count"), detail = find("detail"), form = find("filters");
  let chosen = text.map((_, i) => i);
  let active = 0;

  const number = (value, otherwise) => (value === "" ? otherwise : Number(value));
  function element(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  function filter() {
    const values = Object.fromEntries(new FormData(form));
    const words = (values.search.toLowerCase().match(/"[^"]+"|[^\s"]+/g) ?? []).map((each) => each.replaceAll('"', ""));
    const wanted = values.behaviour === "" ? -1 : Number(values.behaviour);
    const least = number(values.least, 0), most = number(values.most, Infinity);
    chosen = [];
    for (let i = 0; i < text.length; i++) {
      const at = data.problems[problem[i]];
      if (values.group !== "" && group[i] !== Number(values.group)) continue;
      if (values.outcome !== "" && correct[i] !== Number(values.outcome)) continue;
      if (values.level !== "" && at.level !== Number(values.level)) continue;
      if (wanted >= 0 && !(shows[i] & (1 << wanted))) continue;
      if (length[i] < least || length[i] > most) continue;
      if (!words.every((word) => small[i].includes(word) || questions[problem[i]].includes(word))) continue;
      chosen.push(i);
    }
    if (values.order !== "") {
      const sign = values.order === "longest" ? -1 : 1;
      chosen.sort((a, b) => sign * (length[a] - length[b]) || a - b);
    }
    const right = chosen.reduce((sum, i) => sum + correct[i], 0);
    const share = chosen.length ? `, ${((100 * right) / chosen.length).toFixed(1)}% of them right` : "";
    count.textContent = `${chosen.length.toLocaleString("en")} of ${text.length.toLocaleString("en")} responses${share}`;
    active = 0;
    list.scrollTop = 0;
    draw();
    open();
  }

  function draw() {
    rows.style.height = `${chosen.length * ROW}px`;
    const first = Math.max(0, Math.floor(list.scrollTop / ROW) - 4);
    const last = Math.min(chosen.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW) + 4);
    rows.replaceChildren(...chosen.slice(first, last).map((i, shift) => row(i, first + shift)));
    if (chosen.length) list.setAttribute("aria-activedescendant", `option-${active}`);
    else list.removeAttribute("aria-activedescendant");
  }

  function row(i, place) {
    const at = data.problems[problem[i]];
    const made = element("div", {
      role: "option", id: `option-${place}`, class: "option", "aria-selected": String(place === active),
      "aria-setsize": String(chosen.length), "aria-posinset": String(place + 1), style: `top: ${place * ROW}px`,
    });
    const facts = `${data.groups[group[i]]} · ${at.level ? `level ${at.level} · ` : ""}${length[i]} ${data.unit}`;
    made.append(verdict(i), element("span", { class: "about" }, at.question), element("span", { class: "facts" }, facts));
    made.addEventListener("click", () => move(place));
    return made;
  }

  function verdict(i) {
    const kind = correct[i] ? "right" : "wrong";
    return element("b", { class: kind }, `${correct[i] ? "✓" : "✗"} ${kind}`);
  }

  function move(place) {
    if (!chosen.length) return;
    active = Math.max(0, Math.min(chosen.length - 1, place));
    const top = active * ROW;
    if (top < list.scrollTop) list.scrollTop = top;
    else if (top + ROW > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW - list.clientHeight;
    draw();
    open();
  }

  function open() {
    if (!chosen.length) {
      detail.replaceChildren(element("p", { class: "note" }, "No response fits. Take a filter back."));
      return;
    }
    const i = chosen[active], at = data.problems[problem[i]];
    const same = [];
    for (let j = 0; j < text.length; j++) if (problem[j] === problem[i]) same.push(j);
    const first = Math.max(0, Math.min(same.indexOf(i) - (data.most >> 1), same.length - data.most));
    const cards = same.slice(first, first + data.most).map((each) => card(each, each === i));
    detail.replaceChildren(
      element("p", { class: "question" }, at.question),
      element("p", { class: "verdict" }, `Reference answer: ${at.answer || "–"}${at.level ? ` · level ${at.level}` : ""} · `, element("code", {}, at.id)),
      element("div", { class: "side", tabindex: "0", role: "region", "aria-label": "Responses to this problem, side by side" }, ...cards),
      element("p", { class: "note" }, same.length > data.most ? `${same.length - data.most} more responses to this problem: search for its question in quotes.` : ""),
    );
    const side = detail.querySelector(".side");
    side.scrollLeft = side.querySelector("[aria-current]").offsetLeft - side.offsetLeft;
  }

  function card(i, current) {
    const made = element("article", { class: "card", ...(current ? { "aria-current": "true" } : {}) });
    const cutOff = cut[i] ? ", cut off" : "";
    made.append(
      element("h4", {}, `${data.groups[group[i]]}${several[group[i]] ? `, sample ${sample[i] + 1}` : ""}`),
      element("p", { class: "verdict" }, verdict(i), ` ${data.reasons[reason[i]]} · ${length[i]} ${data.unit}${cutOff}${answer[i] ? ` · answer ${answer[i]}` : ""}`),
    );
    const weighed = painted() === "advantages";
    made.append(weighed && advantages[i].length ? pushed(i) : marked(i));
    if (weighed && !advantages[i].length) made.append(element("p", { class: "note" }, "No advantages are known: none were computed for it, the policy was not updated in this step, or its tokens do not spell the text."));
    return made;
  }

  const painted = () => new FormData(form).get("paint") ?? "behaviours";

  /* The text with each passage's advantage: up or down by the line under it, how far by the colour and the title. */
  function pushed(i) {
    const shown = element("pre", { class: "plain" });
    let position = 0;
    for (let k = 0; k < advantages[i].length; k += 2) {
      const [end, value] = advantages[i].slice(k, k + 2);
      const strength = Math.ceil(Math.min(1, Math.abs(value) / (data.large || 1)) * 3);
      const piece = text[i].slice(position, end);
      if (strength === 0) shown.append(piece);
      else shown.append(element("span", { class: `${value > 0 ? "up" : "down"} by-${strength}`, title: `advantage ${value > 0 ? "+" : "−"}${Math.abs(value / 100).toFixed(2)}` }, piece));
      position = end;
    }
    shown.append(text[i].slice(position));
    return shown;
  }

  function marked(i) {
    const shown = element("pre", { class: "plain" });
    const spans = [];
    for (let k = 0; k < marks[i].length; k += 3) spans.push(marks[i].slice(k, k + 3));
    const edges = [...new Set(spans.flatMap(([from, to]) => [from, to]))].sort((a, b) => a - b);
    let position = 0;
    for (const edge of [...edges, text[i].length]) {
      if (edge <= position) continue;
      const piece = text[i].slice(position, edge);
      const here = spans.filter(([from, to]) => from <= position && to >= edge);
      if (!here.length) shown.append(piece);
      else {
        const mark = element("mark", { class: `behaviour-${here[0][2]}` }, piece);
        for (const [, to, kind] of here) if (to === edge) mark.append(element("small", {}, data.behaviours[kind]));
        shown.append(mark);
      }
      position = edge;
    }
    if (!text[i]) shown.append("(empty response)");
    return shown;
  }

  const KEYS = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity };
  list.addEventListener("keydown", (event) => {
    if (!(event.key in KEYS)) return;
    event.preventDefault();
    move(KEYS[event.key] === -Infinity ? 0 : KEYS[event.key] === Infinity ? chosen.length - 1 : active + KEYS[event.key]);
  });
  list.addEventListener("scroll", draw, { passive: true });
  new ResizeObserver(draw).observe(list);
  form.addEventListener("input", (event) => (event.target.name === "paint" ? open() : filter()));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(filter));
  root.hidden = false;
  filter();
  root.dataset.ready = "";
})();
