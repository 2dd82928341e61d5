// Runs before the first paint: the language and the look that were chosen here before, else those of the browser.
"use strict";
(() => {
  const kept = (key) => {
    try {
      return localStorage.getItem(key);
    } catch {
      return null; // storage may be forbidden; the page works without
    }
  };
  const root = document.documentElement;
  const wanted = kept("tench.language") || navigator.language || "en";
  root.lang = wanted.toLowerCase().startsWith("pl") ? "pl" : "en";
  const theme = kept("tench.theme");
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;
})();
