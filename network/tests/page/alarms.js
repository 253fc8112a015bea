// What is shown in the colour of what is wrong.
(() => {
  const probe = document.createElement("p");
  probe.className = "warning";
  document.body.append(probe);
  const alarm = getComputedStyle(probe).color;
  probe.remove();
  const shown = [...document.querySelectorAll("body *")].filter(
    (element) => element.checkVisibility() && element.textContent.trim() !== "",
  );
  return shown.filter((element) => getComputedStyle(element).color === alarm)
    .map((element) => element.textContent);
})()
