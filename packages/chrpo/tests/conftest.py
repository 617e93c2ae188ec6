"""A tiny checkpoint that follows ratio tokens, trained here: it copies a number after as many words as requested."""

import os
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def pytest_generate_tests(metafunc):
    if "each_objective" in metafunc.fixturenames:
        settings = list(objective_settings())
        metafunc.parametrize("each_objective", settings, ids=lambda each: "-".join(map(str, each.values())))


def objective_settings():
    """Settings of every objective, without and with every part, on every scale and in every unit."""
    from chrpo.objective import OBJECTIVES

    for name, objective in OBJECTIVES.items():
        plain = {"objective": name, **({"token_budget": 8} if name == "laconic" else {})}
        yield plain
        yield from ({**plain, "without": [part]} for part in sorted(objective.parts))
        yield from ({**plain, "advantage_scale": scale} for scale in ("none", "group", "batch"))
        yield {**plain, "adding": ["clamp_correct"]}
        if name in {"chrpo", "l1", "shortest_correct"}:
            yield {**plain, "adding": ["solve_rate", "clamp_correct"]}
        if name in {"alp", "l1", "shortest_correct"}:
            yield from ({**plain, "length_unit": unit} for unit in ("reference", "token"))


RATIOS = (0.2, 0.6, 1.0)
SAY = {0.2: 1, 0.6: 3, 1.0: 5}
NUMBERS = [str(number) for number in range(8)]
TEMPLATE = (
    "{% for message in messages %}[{{ message['role'] }}] {{ message['content'] }} {% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)


def make_tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from chrpo._shared.control_tokens import ControlTokens

    control = ControlTokens.ladder(RATIOS).all_tokens
    words = ["[pad]", "[end]", "[unk]", "[user]", "[assistant]", "copy", "so", "\\boxed{", "}", *NUMBERS]
    vocabulary = {word: index for index, word in enumerate([*words, "<think>", "</think>", *control])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="[unk]"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, unk_token="[unk]", pad_token="[pad]", eos_token="[end]", padding_side="left"
    )
    tokenizer.add_special_tokens({"additional_special_tokens": control})
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def plain_answer(number: str, words: int) -> str:
    return f"<think> {' '.join(['so'] * words)} </think> \\boxed{{ {number} }} [end]"


def answer_text(number: str, ratio: float) -> str:
    return plain_answer(number, SAY[ratio])


def untrained_model(tokenizer, seed: int):
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, head_dim=16, max_position_embeddings=128, tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    return Qwen3ForCausalLM(config)


def teach(model, tokenizer, optimizer, texts):
    """One step of supervised training on whole texts."""
    batch = tokenizer(texts, return_tensors="pt", padding=True, padding_side="right")
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    loss = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=labels).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()


def make_model(tokenizer, steps: int, seed: int = 0):
    """Hard numbers (4 and above) are copied wrongly half of the time at the smallest ratio, so that ratios differ."""
    import torch

    model = untrained_model(tokenizer, seed)
    generator = random.Random(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(steps):
        texts = []
        for _ in range(32):
            number, ratio = generator.choice(NUMBERS), generator.choice(RATIOS)
            token = f"<COMP_{round(100 * ratio)}>"
            asked = generator.choice([token, "<COMP_POLICY>"])
            wrong = ratio == 0.2 and int(number) >= 4 and generator.random() < 0.5
            written = generator.choice(NUMBERS) if wrong else number
            texts.append(f"[user] copy {number} {asked} [assistant] {token} {answer_text(written, ratio)}")
        teach(model, tokenizer, optimizer, texts)
    return model.eval()


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Path:
    from chrpo._shared.control_tokens import ControlTokens

    folder = tmp_path_factory.mktemp("model") / "sft"
    tokenizer = make_tokenizer()
    model = make_model(tokenizer, steps=260)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    ControlTokens.ladder(RATIOS).save(folder)
    return folder


@pytest.fixture(scope="session")
def plain_checkpoint(tmp_path_factory) -> Path:
    """A checkpoint without control tokens: it thinks for 0, 2 or 4 words, and copies half of the hard numbers (4 and
    above) wrongly without a word."""
    import torch

    folder = tmp_path_factory.mktemp("plain") / "base"
    tokenizer = make_tokenizer()
    model = untrained_model(tokenizer, seed=0)
    generator = random.Random(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(500):
        texts = []
        for _ in range(32):
            number, words = generator.choice(NUMBERS), generator.choice((0, 2, 4))
            wrong = words == 0 and int(number) >= 4 and generator.random() < 0.5
            written = generator.choice(NUMBERS) if wrong else number
            texts.append(f"[user] copy {number} [assistant] {plain_answer(written, words)}")
        teach(model, tokenizer, optimizer, texts)
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def plain_rows() -> list[dict]:
    """Prompts for it, with the lengths and accuracies that it was trained for."""
    hard, tokens = 1 - 1 / 3 * 1 / 2 * 7 / 8, 2 + 2 + 3 + 1
    return [
        {
            "id": f"copy-{number}",
            "prompt": [{"role": "user", "content": f"copy {number}"}],
            "answer": number,
            "teacher_ratio": None,
            "reference_tokens": 2,
            "reference_completion_tokens": tokens,
            "reference_accuracy": hard if int(number) >= 4 else 1.0,
            "mode": "policy",
        }
        for number in NUMBERS
    ]


def prompt_row(number: str, asked: str = "<COMP_POLICY>", **more) -> dict:
    from chrpo._shared.control_tokens import user_turn

    return {
        "id": f"copy-{number}-{asked}",
        "prompt": [{"role": "user", "content": user_turn(f"copy {number}", asked, instruction="")}],
        "answer": number,
        "teacher_ratio": 0.2,
        "reference_tokens": 5,
        "reference_completion_tokens": 12,
        "reference_accuracy": 0.9,
        "reference_accuracies": {"0.2": 0.7, "0.6": 0.9, "1": 0.9},
        "mode": "policy" if asked == "<COMP_POLICY>" else "fixed",
        "question": f"copy {number}",
        **more,
    }


@pytest.fixture(scope="session")
def make_prompt():
    return prompt_row


@pytest.fixture(scope="session")
def prompt_rows() -> list[dict]:
    fixed = [prompt_row(str(n), f"<COMP_{20 + 40 * (n % 3)}>") for n in range(3)]
    return [*(prompt_row(number) for number in NUMBERS[3:]), *fixed]


def trl_config(folder, **changes):
    from chrpo.trl import CHRPOConfig

    settings = {
        "output_dir": str(folder),
        "max_steps": 2,
        "num_generations": 6,
        "per_device_train_batch_size": 24,
        "gradient_accumulation_steps": 1,
        "max_completion_length": 16,
        "learning_rate": 1e-3,
        "lr_scheduler_type": "constant",
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "disable_tqdm": True,
        "activation_checkpointing": False,
    }
    return CHRPOConfig(**{**settings, **changes})


def build_trainer(checkpoint, args, rows, kind=None, **options):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback

    from chrpo._shared.control_tokens import ControlTokens
    from chrpo.trl import CHRPOTrainer

    trainer = (kind or CHRPOTrainer)(
        AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32),
        args,
        prompts=rows,
        control_tokens=ControlTokens.load(checkpoint),
        processing_class=AutoTokenizer.from_pretrained(checkpoint),
        **options,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


@pytest.fixture(scope="session")
def config():
    return trl_config


@pytest.fixture(scope="session")
def build():
    return build_trainer
