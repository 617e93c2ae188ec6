const form = document.querySelector(".filters");
function apply() {
  const wanted = new FormData(form);
  const text = wanted.get("text").toLowerCase();
  let count = 0;
  for (const article of document.querySelectorAll("article")) {
    let shown = 0;
    for (const sample of article.querySelectorAll(".sample")) {
      const fits = ["condition", "verdict"].every((name) => !wanted.get(name) || sample.dataset[name] === wanted.get(name));
      sample.hidden = !fits;
      shown += fits;
    }
    const value = wanted.get("value");
    article.hidden = !shown || (value && article.dataset.value !== value) || !article.textContent.toLowerCase().includes(text);
    count += !article.hidden;
  }
  form.querySelector("output").textContent = count + " problems shown";
}
form.addEventListener("input", apply);
form.addEventListener("submit", (event) => event.preventDefault());
apply();
