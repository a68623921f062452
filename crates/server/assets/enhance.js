// Two conveniences. Every page works without them.

// The copy button appears only where it can copy.
for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    const field = document.getElementById(button.dataset.copy);
    const status = document.getElementById("copy-status");
    try {
      await navigator.clipboard.writeText(field.value);
      status.textContent = "Copied.";
    } catch {
      field.focus();
      field.select();
      status.textContent = "Selected. Copy it with your keyboard.";
    }
  });
}

// The waiting page looks again without reloading itself, so that a screen reader is not interrupted every time. Any other
// answer than "still waiting" is opened as a page; without scripts a refresh does the same.
const waiting = document.querySelector("#payment-waiting[data-next]");
if (waiting) {
  const look = async (next) => {
    try {
      const html = await (await fetch(next)).text();
      const page = new DOMParser().parseFromString(html, "text/html");
      const still = page.querySelector("#payment-waiting[data-next]");
      if (!still) return location.replace(next);
      setTimeout(look, 2000, still.dataset.next);
    } catch {
      setTimeout(look, 4000, next);
    }
  };
  setTimeout(look, 2000, waiting.dataset.next);
}
