// Tables to sort and filter, and structures to turn; what does that comes from itables and chemiscope.
for (const table of document.querySelectorAll("table.verdicts")) {
  const data = new DataTable(table, {
    paging: false,
    info: false,
    order: [],
    layout: { topStart: null, topEnd: null },
  });
  const bar = table.closest("section").querySelector(".filters");
  const words = bar.querySelector("input");
  const column = table.querySelectorAll("thead th").length - 1;
  const filter = () => {
    const chosen = [...bar.querySelectorAll("button[aria-pressed=true]")].map((b) => b.value);
    const pattern = chosen.length ? `^(${chosen.join("|")})` : "";
    data.column(column).search(pattern, true, false);
    data.search(words.value).draw();
  };
  words.addEventListener("input", filter);
  for (const button of bar.querySelectorAll("button")) {
    button.addEventListener("click", () => {
      button.setAttribute("aria-pressed", button.getAttribute("aria-pressed") !== "true");
      filter();
    });
  }
}

const structures = JSON.parse(document.getElementById("structures").textContent);
for (const box of document.querySelectorAll("details.structures")) {
  box.addEventListener("toggle", async () => {
    if (!box.open || box.dataset.loaded) return;
    box.dataset.loaded = true;
    const warnings = new Chemiscope.Warnings();
    warnings.addHandler((message) => console.warn(message));
    const parts = ["meta", "structure", "info"].map((part) => [part, `${box.id}-${part}`]);
    const names = Object.fromEntries(parts);
    await Chemiscope.StructureVisualizer.load(names, structures[box.dataset.card], warnings);
  });
}
