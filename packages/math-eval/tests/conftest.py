"""A tiny Qwen3-architecture model that really adds digits, trained in a few seconds, and problems for it."""

import json

import pytest

DIGITS = range(6)
TEMPLATE = (
    "{%- if ratio is not defined %}{%- set ratio = 'policy' %}{%- endif %}"
    "{%- for message in messages %}{%- if message.role == 'user' %}<user> {{ message.content }}"
    "{%- if ratio == 'policy' and not message.content.rstrip().endswith('>') %} <COMP_POLICY>{%- endif %}"
    "{%- else %} <assistant> {{ message.content }} <end>{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %} <assistant>{%- endif %}"
)
CONTROLS = {"<COMP_20>": 0.2, "<COMP_100>": 1.0}


def _answer(control, ratio_token, a, b):
    """Short thinking for 0.2, twice as long for 1.0; policy chooses short for even sums; the plain prompt has no token."""
    equation = f"{a} + {b} = {a + b}"
    thought = equation if ratio_token == "<COMP_20>" else f"so {equation} and {equation}"
    opening = f"{ratio_token} " if control else ""
    return f"{opening}<think> {thought} </think> \\boxed{{ {a + b} }} <end>"


def _build(folder):
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    specials = ["<pad>", "<end>", "<unk>", "<user>", "<assistant>", "<think>", "</think>", *CONTROLS, "<COMP_POLICY>"]
    words = ["add", "and", "so", "+", "=", "\\boxed{", "}", *map(str, range(12))]
    vocabulary = {word: index for index, word in enumerate([*specials, *words])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", eos_token="<end>", unk_token="<unk>", chat_template=TEMPLATE
    )
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(vocabulary),
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=24,
        max_position_embeddings=128,
        eos_token_id=1,
        pad_token_id=0,
        tie_word_embeddings=True,
    )
    model = Qwen3ForCausalLM(config)
    rows = []
    for a in DIGITS:
        for b in DIGITS:
            for control in ("", " <COMP_20>", " <COMP_100>", " <COMP_POLICY>"):
                chosen = control.strip()
                if chosen == "<COMP_POLICY>":
                    chosen = "<COMP_20>" if (a + b) % 2 == 0 else "<COMP_100>"
                prompt = f"<user> add {a} and {b}{control} <assistant>"
                rows.append((prompt, _answer(control, chosen, a, b)))
    prompts = [tokenizer(prompt)["input_ids"] for prompt, _ in rows]
    full = [tokenizer(f"{prompt} {answer}")["input_ids"] for prompt, answer in rows]
    width = max(map(len, full))
    ids = torch.tensor([row + [0] * (width - len(row)) for row in full])
    labels = torch.tensor(
        [[-100] * len(head) + row[len(head) :] + [-100] * (width - len(row)) for head, row in zip(prompts, full)]
    )
    optimiser = torch.optim.AdamW(model.parameters(), lr=4e-3)
    for step in range(200):
        for group in optimiser.param_groups:
            group["lr"] = 4e-3 * min(1, (200 - step) / 100)
        loss = model(input_ids=ids, attention_mask=(ids != 0).long(), labels=labels).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "control_tokens.json").write_text(
        json.dumps({"format": 1, "ratios": CONTROLS, "policy": "<COMP_POLICY>"}), "utf-8"
    )


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tiny"
    folder.mkdir()
    _build(folder)
    return folder


@pytest.fixture(scope="session")
def problems(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "sums.jsonl"
    rows = [
        {"id": f"sum-{a}-{b}", "question": f"add {a} and {b}", "answer": str(a + b), "level": 1 + (a + b) // 4}
        for a in DIGITS
        for b in DIGITS
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path
