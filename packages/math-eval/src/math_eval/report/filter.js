const form = document.querySelector(".filters");
const more = document.querySelector(".more");
const page = 25;
const articles = [...document.querySelectorAll("article")].map((article) => ({
  article,
  samples: [...article.querySelectorAll(".sample")],
  text: article.textContent.toLowerCase(),
}));
let room = page;
function apply() {
  const wanted = new FormData(form);
  const fits = (data, name) => !wanted.get(name) || data[name] === wanted.get(name);
  const text = wanted.get("text").toLowerCase();
  let count = 0;
  for (const one of articles) {
    let shown = 0;
    for (const sample of one.samples) {
      sample.hidden = !["condition", "verdict"].every((name) => fits(sample.dataset, name));
      shown += !sample.hidden;
    }
    const found = shown && fits(one.article.dataset, "value") && fits(one.article.dataset, "change") && one.text.includes(text);
    count += !!found;
    one.article.hidden = !found || count > room;
  }
  form.querySelector("output").textContent = `${count} found` + (count > room ? `, the first ${room} shown` : "");
  more.hidden = count <= room;
}
form.addEventListener("input", () => ((room = page), apply()));
form.addEventListener("submit", (event) => event.preventDefault());
more.addEventListener("click", () => ((room += page), apply()));
apply();
