"""The short scripts in examples/, each run as its first lines say, with wheels built from here."""

import http.server
import json
import re
import subprocess
import sys
import sysconfig
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="session")
def clean_python(tmp_path_factory):
    """Python of an environment with wheels built from here; other libraries are this environment's."""
    folder = tmp_path_factory.mktemp("clean")
    for dist in ("cot-compressor", "ratio-sft", "chrpo", "math-eval"):
        build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder / "wheels"]
        subprocess.run([*build, ROOT / "packages" / dist], check=True, capture_output=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    python = folder / "venv/bin/python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, *(folder / "wheels").glob("*.whl")], check=True, capture_output=True)
    site = next((folder / "venv/lib").glob("python*/site-packages"))
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


@pytest.fixture(scope="module")
def served(pipeline):
    """URL of an OpenAI-shaped server on this machine, which answers with the pipeline's last checkpoint."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(pipeline / "chrpo")
    model = AutoModelForCausalLM.from_pretrained(pipeline / "chrpo")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            prompt = tokenizer.apply_chat_template(
                asked["messages"],
                add_generation_prompt=True,
                return_tensors="pt",
                return_dict=True,
                **asked.get("chat_template_kwargs", {}),
            )
            ids = model.generate(**prompt, max_new_tokens=asked["max_tokens"], do_sample=False)
            new = ids[0, prompt["input_ids"].shape[1] :]
            message = {"role": "assistant", "content": tokenizer.decode(new, skip_special_tokens=True)}
            usage = {"prompt_tokens": 1, "completion_tokens": len(new), "total_tokens": 1 + len(new)}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            body = {"id": "0", "object": "chat.completion", "created": 0, "model": "tiny", "choices": [choice]}
            text = json.dumps({**body, "usage": usage}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


def example(python, name, *arguments):
    """Standard output of a script that must end well, run outside the repository."""
    done = subprocess.run(
        [python, EXAMPLES / name, *map(str, arguments)], capture_output=True, text=True, check=False, cwd=python.parent
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_scripts_run_with_the_wheels_and_not_with_the_source(clean_python):
    code = "import chrpo, cot_compressor, math_eval, ratio_sft; print(chrpo, cot_compressor, math_eval, ratio_sft)"
    shown = subprocess.run([clean_python, "-c", code], capture_output=True, text=True, check=True, cwd="/").stdout
    assert shown.count(str(clean_python.parents[1])) == 4, shown


def test_every_short_script_is_under_80_lines_and_shows_its_commands():
    others = {EXAMPLES / name for name in ("stages.py", "seed_means.py", "svg_charts.py")}
    for path in set(EXAMPLES.glob("*.py")) - others:
        text = path.read_text()
        assert len(text.splitlines()) < 80, path.name
        assert f"python examples/{path.name} " in text, path.name


@pytest.mark.enable_socket
@pytest.mark.parametrize(
    ("name", "words", "shown"),
    [
        ("chrpo_in_pytorch.py", ("BASE", "BAD", "OUT"), "control_tokens.json"),
        ("chrpo_in_trl.py", ("BASE", "BAD", "OUT"), "control_tokens.json"),
        ("new_ladder.py", ("BAD", "BASE", "OUT", "--ratio", "0.5"), "bad.jsonl:1: not JSON"),
        ("summarise_traces.py", ("TEXTS", "OUT", "--ratio", "20"), "ratio"),
        ("serve_and_save.py", ("BAD", "--url", "http://127.0.0.1:9/v1", "--model", "m"), "expected JSON Lines"),
        ("serve_and_save.py", ("EMPTY", "--url", "http://127.0.0.1:9/v1", "--model", "m"), "no problems"),
        ("serve_and_save.py", ("GOOD", "--url", "http://127.0.0.1:9/v1", "--model", "m"), "Connection error"),
    ],
)
def test_bad_input_ends_in_a_line(clean_python, pipeline, tmp_path, name, words, shown):
    (tmp_path / "bad.jsonl").write_text("{torn")
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "good.jsonl").write_text('{"question": "1 + 1?"}')
    (tmp_path / "a.txt").write_text("So 1 + 1 = 2.")
    paths = {"BASE": pipeline / "base", "OUT": tmp_path / "out", "TEXTS": tmp_path}
    paths |= {word.upper(): tmp_path / f"{word}.jsonl" for word in ("bad", "empty", "good")}
    command = [clean_python, EXAMPLES / name, *(str(paths.get(word, word)) for word in words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode in {1, 2}
    assert shown in done.stderr
    assert "Traceback" not in done.stderr


def test_summarise_traces(clean_python, pipeline, tmp_path):
    for row in pipeline.rows("traces.jsonl")[:2]:
        (tmp_path / f"{row['id'].replace('/', '-')}.txt").write_text(
            f"{row['question']}\n<think>{row['cot']}</think>{row['response']}"
        )
    (tmp_path / "short.txt").write_text("so")
    arguments = (tmp_path, tmp_path / "out", "--ratio", 0.4, "--tokenizer", pipeline / "base")
    shown = example(clean_python, "summarise_traces.py", *arguments)
    assert "in 2 of 3 files" in shown.splitlines()[-1]
    for path in (tmp_path / "out").iterdir():
        before, after = (file.read_text() for file in (tmp_path / path.name, path))
        assert len(after) < 0.8 * len(before)
        assert after.partition("<think>")[0] == before.partition("<think>")[0]
        assert after.partition("</think>")[2] == before.partition("</think>")[2] != ""


def test_new_ladder(clean_python, pipeline, tmp_path):
    ladder = [word for ratio in (0.3, 0.5, 1.0) for word in ("--ratio", ratio)]
    settings = ("--epochs", 1, "--tolerance", 0.2)
    arguments = (pipeline / "traces.jsonl", pipeline / "base", tmp_path, *ladder, *settings)
    shown = example(clean_python, "new_ladder.py", *arguments)
    assert json.loads((tmp_path / "checkpoint/control_tokens.json").read_text())["ratios"] == {
        "<COMP_30>": 0.3,
        "<COMP_50>": 0.5,
        "<COMP_100>": 1.0,
    }
    assert "ratio 0.3 is requested with <COMP_30>" in shown


@pytest.mark.parametrize("name", ["chrpo_in_pytorch.py", "chrpo_in_trl.py"])
def test_chrpo_in_a_loop_of_ones_own(clean_python, pipeline, tmp_path, name):
    from safetensors.torch import load_file

    out = tmp_path / "out"
    settings = ("--max-steps", 2, "--each", 2, "--max-tokens", 60, "--learning-rate", 1e-3)
    shown = example(clean_python, name, pipeline / "sft", pipeline / "prompts.jsonl", out, *settings)
    before, after = (load_file(folder / "model.safetensors") for folder in (pipeline / "sft", out))
    assert any(not before[part].equal(after[part]) for part in before), shown
    assert (out / "control_tokens.json").read_bytes() == (pipeline / "sft/control_tokens.json").read_bytes()
    assert (out / "tokenizer.json").is_file()


def test_thinking_baselines(clean_python, pipeline, tmp_path):
    ways = ("--budget", 8, "--exit", "exit=0.9:8", "--beside", f"chrpo={pipeline / 'run_chrpo'}:policy")
    arguments = (pipeline / "base", pipeline / "problems.jsonl", tmp_path / "ways", *ways, "--", "--max-tokens", 160)
    example(clean_python, "thinking_baselines.py", *arguments)
    ways = {row["name"]: row for row in json.loads((tmp_path / "ways/report.json").read_text())["conditions"]}
    untrained = ("none", "budget=8", "concise=brief", "exit=0.9:8")
    assert list(ways) == ["base", *(f"base (thinking {way})" for way in untrained), "chrpo@policy"]
    assert ways["base (thinking budget=8)"]["closed_rate"] == 1
    assert ways["base (thinking exit=0.9:8)"]["trial_tokens"] > 0


@pytest.mark.enable_socket
def test_benchmark_endpoint(clean_python, pipeline, served, tmp_path):
    arguments = ("--model", "tiny", "--url", served, "--max-tokens", 130, "--requests", 2)
    shown = example(clean_python, "benchmark_endpoint.py", pipeline / "problems.jsonl", tmp_path / "run", *arguments)
    assert re.search(r"problems: \d+\.\d% correct \(95 %: ", shown)
    assert (tmp_path / "run/report.html").is_file()


@pytest.mark.enable_socket
def test_serve_and_save(clean_python, pipeline, served):
    arguments = ("--model", "tiny", "--url", served, "--max-tokens", 130, "--limit", 2, "--price", 1)
    shown = example(clean_python, "serve_and_save.py", pipeline / "problems.jsonl", *arguments)
    full, served_as_is = re.findall(r"^(?:full thinking|as served) +([\d.]+) +[\d.]+ +([\d.]+)$", shown, re.MULTILINE)
    assert float(served_as_is[0]) != float(full[0]), "the plain request must leave the choice to the model"
    assert float(full[1]) == pytest.approx(float(full[0]) / 1000, abs=1e-3), "a dollar a million tokens"
