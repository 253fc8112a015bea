// What is wrong with the page as it is shown now, in words.
(() => {
  const faults = [];
  const seen = (element) => element.checkVisibility() && element.getClientRects().length > 0;
  const all = (selector) => [...document.querySelectorAll(selector)].filter(seen);
  const name = (element) => {
    const id = element.id ? `#${element.id}` : "";
    return `${element.localName}${id} "${element.textContent.trim().slice(0, 40)}"`;
  };

  // The document.
  if (document.documentElement.lang !== "en") faults.push("the page has no language");
  if (document.title.trim() === "") faults.push("the page has no title");
  for (const landmark of ["body > header", "main", "body > footer"]) {
    if (all(landmark).length !== 1) faults.push(`there is not one ${landmark}`);
  }
  const ids = [...document.querySelectorAll("[id]")].map(({ id }) => id);
  const twice = ids.filter((id, at) => ids.indexOf(id) !== at);
  if (twice.length > 0) faults.push(`two elements have the id ${twice}`);
  for (const attribute of ["aria-labelledby", "aria-describedby"]) {
    for (const element of document.querySelectorAll(`[${attribute}]`)) {
      const named = element.getAttribute(attribute).split(" ");
      const lost = named.filter((id) => document.getElementById(id) === null);
      if (lost.length > 0) faults.push(`${name(element)} is named by ${lost}, which is not there`);
    }
  }

  // Headings.
  const levels = all("h1, h2, h3, h4, h5, h6").map((heading) => Number(heading.localName[1]));
  if (levels.filter((level) => level === 1).length !== 1) faults.push("there is not one h1");
  levels.forEach((level, at) => {
    const before = at === 0 ? 0 : levels[at - 1];
    if (level > before + 1) faults.push(`a heading of level ${level} follows one of ${before}`);
  });

  // Tables.
  for (const cell of all("th")) {
    if (!["col", "row"].includes(cell.scope)) faults.push(`${name(cell)} heads nothing`);
  }

  // What is wider than the window, or cut off.
  const wide = document.scrollingElement.scrollWidth;
  if (wide > innerWidth) faults.push(`the page is ${wide} pixels wide, the window ${innerWidth}`);
  for (const element of all("body *")) {
    const { overflowX, overflowY } = getComputedStyle(element);
    const scrolls = [overflowX, overflowY].some((overflow) => /auto|scroll/.test(overflow));
    const cut = element.scrollWidth > element.clientWidth + 1
      || element.scrollHeight > element.clientHeight + 1;
    if (scrolls && cut && element.tabIndex < 0) {
      faults.push(`${name(element)} scrolls, but not from the keyboard`);
    }
    if (/hidden|clip/.test(overflowX) && cut && !element.closest("svg")) {
      faults.push(`${name(element)} is cut off`);
    }
  }

  // Contrast, as WCAG 2.1 has it.
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const ground = (element) => {
    for (let at = element; at !== null; at = at.parentElement) {
      const color = rgba(getComputedStyle(at).backgroundColor);
      if (color[3] === 255) return color;
    }
    return [255, 255, 255, 255];
  };
  const luminance = (color) => {
    const [r, g, b] = color.slice(0, 3).map((part) => {
      const share = part / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (one, other) => {
    const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  };
  const compare = (element, color, least) => {
    const found = contrast(rgba(color), ground(element));
    if (found < least) faults.push(`${name(element)} has a contrast of ${found.toFixed(2)}`);
  };
  const hasText = (element) => [...element.childNodes].some(
    (child) => child.nodeType === Node.TEXT_NODE && child.textContent.trim() !== "",
  );
  for (const element of all("body *").filter(hasText)) {
    const style = getComputedStyle(element);
    const size = Number.parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (size < 12) faults.push(`${name(element)} is ${size} pixels high`);
    const color = element.closest("svg") ? style.fill : style.color;
    compare(element, color, large ? 3 : 4.5);
  }
  for (const curve of all("svg .curve")) compare(curve, getComputedStyle(curve).stroke, 3);

  // Labels of charts.
  for (const chart of all("figure > svg")) {
    const frame = chart.getBoundingClientRect();
    const boxes = [...chart.querySelectorAll("text")].map((text) => {
      const { left, right, top, bottom } = text.getBoundingClientRect();
      const outside = left < frame.left - 1 || right > frame.right + 1
        || top < frame.top - 1 || bottom > frame.bottom + 1;
      if (outside) faults.push(`the label ${text.textContent} is outside of its chart`);
      return { left, right, top, bottom, text: text.textContent };
    });
    boxes.forEach((one, at) => {
      for (const other of boxes.slice(at + 1)) {
        const apart = one.right <= other.left || other.right <= one.left
          || one.bottom <= other.top + 2 || other.bottom <= one.top + 2;
        if (!apart) faults.push(`the labels ${one.text} and ${other.text} overlap`);
      }
    });
  }
  return faults;
})()
