"""Chat templates of published models, written by us from their documented form, as short as shows their thinking.

PUBLISHED["Qwen3"]        # (template, name of its thinking format, whether its generation prompt opens the block)
"""

TURNS = (
    "{% for m in messages %}{% set c = m.content %}{% if m.role == 'assistant' %}{% set c = c.split('</think>')[-1] %}"
    "{% endif %}{{ '<|im_start|>' + m.role + '\n' + c + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
R1_DISTILL = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '<｜User｜>' + m.content }}{% else %}"
    "{{ '<｜Assistant｜>' + m.content.split('</think>')[-1] + '<｜end▁of▁sentence｜>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<｜Assistant｜><think>\n' }}{% endif %}"
)
QWEN3 = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' and loop.last %}"
    "{{ '<think>\n' + (m.reasoning_content or '') + '\n</think>\n\n' }}{% endif %}"
    "{{ m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% if enable_thinking is defined and not "
    "enable_thinking %}{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}"
)
GPT_OSS = (
    "<|start|>system<|message|># Valid channels: analysis, commentary, final.<|end|>"
    "{% for m in messages %}{% if m.role == 'assistant' %}"
    "{% if '<|channel|>' in m.content %}{{ raise_exception('use the field thinking') }}{% endif %}"
    "{% if loop.last and m.thinking %}{{ '<|start|>assistant<|channel|>analysis<|message|>' + m.thinking + '<|end|>' }}"
    "{% endif %}{{ '<|start|>assistant<|channel|>final<|message|>' + m.content + '<|return|>' }}"
    "{% else %}{{ '<|start|>user<|message|>' + m.content + '<|end|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant{% endif %}"
)
MAGISTRAL = (
    "{{ bos_token }}{% if messages[0].role != 'system' %}[SYSTEM_PROMPT]Draft your thinking first:"
    "[THINK]your draft[/THINK]Then answer.[/SYSTEM_PROMPT]{% endif %}{% for m in messages %}"
    "{% if m.role == 'user' %}{{ '[INST]' + m.content + '[/INST]' }}{% else %}{{ m.content + eos_token }}{% endif %}"
    "{% endfor %}"
)
SEED_OSS = (
    "{% for m in messages %}{{ '<seed:bos>' + m.role }}{% if m.role == 'assistant' and m.reasoning_content %}"
    "{{ '\n<seed:think>' + m.reasoning_content | trim + '</seed:think>' }}{% endif %}"
    "{{ '\n' + m.content + '<seed:eos>' }}{% endfor %}{% if add_generation_prompt %}{{ '<seed:bos>assistant\n' }}"
    "{% endif %}"
)
GEMMA4 = (
    "{% macro answer(text) %}{% for part in text.split('<channel|>') %}{{ part.split('<|channel>')[0] }}{% endfor %}"
    "{% endmacro %}{{ bos_token }}{% for m in messages %}"
    "{{ '<|turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' }}"
    "{{ answer(m.content) if m.role == 'assistant' else m.content }}{{ '<turn|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|turn>model\n' }}{% endif %}"
)
PHI4_REASONING = (
    "<|im_start|>system<|im_sep|>Give your Thought and your Solution in this form: <think> {Thought section} </think> "
    "{Solution section}.<|im_end|>{% for m in messages %}"
    "{{ '<|im_start|>' + m.role + '<|im_sep|>' + m.content + '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant<|im_sep|>' }}{% endif %}"
)
PUBLISHED = {
    "R1-Distill": (R1_DISTILL, "think", True),
    "QwQ": (TURNS.replace("assistant\n' }}", "assistant\n<think>\n' }}"), "think", True),
    "Qwen3": (QWEN3, "think", False),
    "Qwen3-Thinking-2507": (QWEN3.replace("'<|im_start|>assistant\n' }}", "'<|im_start|>assistant\n<think>\n' }}"),
                            "think", True),
    "Qwen3 without thinking": (QWEN3.replace("enable_thinking is defined and not enable_thinking", "true"),
                               "think", False),
    "gpt-oss": (GPT_OSS, "gpt-oss", False),
    "Magistral": (MAGISTRAL, "bracket-think", False),
    "Seed-OSS": (SEED_OSS, "seed-think", False),
    "Gemma 4": (GEMMA4, "gemma4", False),
    "Phi-4-reasoning": (PHI4_REASONING, "think", False),
}  # fmt: skip
