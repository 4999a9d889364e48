// Light or dark, before the first paint: as the system has it, or as it was chosen here.

const THEMES = ["automatic", "light", "dark"];

function chosenTheme() {
  const kept = localStorage.getItem("theme");
  return THEMES.includes(kept) ? kept : "automatic";
}

function applyTheme(theme) {
  if (theme === "automatic") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  const button = document.getElementById("theme");
  if (button) button.textContent = `Light or dark: ${theme}`;
}

applyTheme(chosenTheme());
addEventListener("DOMContentLoaded", () => {
  applyTheme(chosenTheme());
  document.getElementById("theme").addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(chosenTheme()) + 1) % THEMES.length];
    localStorage.setItem("theme", next);
    applyTheme(next);
  });
});
