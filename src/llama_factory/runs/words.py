"""The words of the page, in both languages, and its one style sheet."""

from __future__ import annotations

from collections.abc import Mapping

from llama_factory.errors import Language

WORDS: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "finished": "Finished",
        "early": "Stopped early",
        "interrupted": "Interrupted",
        "diverged": "Diverged",
        "failed": "Failed",
        "said-finished": "Training went to its end, and the result was written and looked at.",
        "said-early": "The validation loss got no better; the best weights are the result.",
        "resume": "Go on from the last checkpoint:",
        "figures": "In figures",
        "step": "step",
        "steps": "Steps",
        "epochs": "Epochs",
        "time": "Time",
        "first-loss": "Training loss, first",
        "last-loss": "Training loss, last",
        "best-eval": "Validation loss, best",
        "last-eval": "Validation loss, last",
        "speed": "Speed",
        "memory": "Memory, most",
        "cpu": "Processor, mean",
        "gpu": "GPU, mean",
        "health": "Health",
        "healthy": "Nothing was noticed: memory, speed, loss, gradients and updates were as they should be.",
        "health-skipped": "Batches skipped",
        "health-spikes": "Jumps of the loss",
        "health-halved": "Micro-batch, at most",
        "health-others": "Other signs",
        "health-at": "step {step}",
        "marked": "jump or skipped batch",
        "noticed": "Noticed while it ran",
        "curves": "Curves",
        "loss": "Loss",
        "training": "training",
        "training-raw": "training, as logged",
        "training-smooth": "training, smoothed",
        "validation": "validation",
        "learning-rate": "Learning rate",
        "gradient": "Gradient norm",
        "tokens-per-second": "Tokens per second",
        "memory-curve": "Memory",
        "samples": "Answers before and after",
        "samples-note": "The likeliest words, at most {tokens} tokens; “after” has the weights of step {step}.",
        "prompt": "Asked",
        "before": "Before",
        "after": "After",
        "reference": "The row's own answer",
        "empty": "(no words)",
        "data": "Data",
        "lengths": "Tokens of a row",
        "rows": "rows",
        "tokens": "tokens",
        "longest": "longest",
        "cutoff": "cutoff_len",
        "foreseen": "Plan and measurement",
        "planned": "planned {said}",
        "measured": "measured {said}",
        "checked": "What check said before step 1",
        "nothing-found": "Nothing.",
        "error": "error",
        "warning": "warning",
        "note": "note",
        "go-on": "Go on",
        "chat": "Talk to it",
        "export": "Merge it into its base",
        "train-on": "Train on, from its last checkpoint",
        "files": "Files of the result",
        "environment": "Machine and versions",
        "configuration": "Every key with the value that counted",
        "no-log": "No figure was logged before the run ended.",
    },
    "zh": {
        "finished": "训练完成",
        "early": "提前停止",
        "interrupted": "已中断",
        "diverged": "训练发散",
        "failed": "训练失败",
        "said-finished": "训练已全部完成，结果已写出并核对。",
        "said-early": "验证损失不再变好；结果采用最好时的权重。",
        "resume": "从最近的检查点继续：",
        "figures": "关键数字",
        "step": "步",
        "steps": "步数",
        "epochs": "轮数",
        "time": "用时",
        "first-loss": "训练损失（最初）",
        "last-loss": "训练损失（最后）",
        "best-eval": "验证损失（最好）",
        "last-eval": "验证损失（最后）",
        "speed": "速度",
        "memory": "内存（最大）",
        "cpu": "处理器（平均）",
        "gpu": "GPU（平均）",
        "health": "健康状况",
        "healthy": "没有发现异常：内存、速度、损失、梯度与更新量均正常。",
        "health-skipped": "跳过的批次",
        "health-spikes": "损失突增",
        "health-halved": "微批上限",
        "health-others": "其他迹象",
        "health-at": "第 {step} 步",
        "marked": "突增或跳过的批次",
        "noticed": "训练中的提示",
        "curves": "曲线",
        "loss": "损失",
        "training": "训练",
        "training-raw": "训练（原始）",
        "training-smooth": "训练（平滑）",
        "validation": "验证",
        "learning-rate": "学习率",
        "gradient": "梯度范数",
        "tokens-per-second": "每秒词元数",
        "memory-curve": "内存",
        "samples": "训练前后的回答",
        "samples-note": "取概率最高的词，最多 {tokens} 个词元；“训练后”为第 {step} 步的权重。",
        "prompt": "提问",
        "before": "训练前",
        "after": "训练后",
        "reference": "数据中的回答",
        "empty": "（没有内容）",
        "data": "数据",
        "lengths": "每行词元数",
        "rows": "行",
        "tokens": "词元",
        "longest": "最长",
        "cutoff": "cutoff_len",
        "foreseen": "规划与实测",
        "planned": "规划 {said}",
        "measured": "实测 {said}",
        "checked": "训练前检查的结果",
        "nothing-found": "没有发现问题。",
        "error": "错误",
        "warning": "警告",
        "note": "提示",
        "go-on": "接下来",
        "chat": "与它对话",
        "export": "合并到基座模型",
        "train-on": "从最近的检查点继续训练",
        "files": "结果文件",
        "environment": "机器与版本",
        "configuration": "所有配置项及其实际取值",
        "no-log": "训练结束前没有记录任何数据。",
    },
}

STYLE = """
:root{color-scheme:light dark;--bg:#fff;--fg:#1c2024;--dim:#60646c;--line:#dfe2e6;--box:#f6f7f9;
--c1:#1f6fb2;--c2:#c2560a;--c3:#2f8f4e;--good:#1d7a3e;--bad:#b3261e;--wait:#8a5a00}
@media (prefers-color-scheme:dark){:root{--bg:#15181c;--fg:#e6e8eb;--dim:#9ba1a8;--line:#343a41;--box:#1e2227;
--c1:#6cb2ee;--c2:#f2994a;--c3:#6fcf8a;--good:#6fcf8a;--bad:#ff8a80;--wait:#f0c05a}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1040px;padding:24px 20px 60px;background:var(--bg);color:var(--fg);
font:16px/1.5 system-ui,-apple-system,"Segoe UI","Noto Sans",
"PingFang SC","Microsoft YaHei","Noto Sans CJK SC",sans-serif}
h1{font-size:1.5rem;line-height:1.25;margin:0;overflow-wrap:anywhere}
h2{font-size:1.15rem;margin:2.2em 0 .7em}
h3{font-size:1rem;margin:0 0 .3em}
p{margin:.4em 0}
.dim{color:var(--dim)}
.end{border-left:5px solid var(--good);background:var(--box);padding:12px 16px;margin:18px 0;border-radius:0 8px 8px 0;
overflow-wrap:anywhere}
.end.interrupted,.end.early{border-color:var(--wait)}
.end.diverged,.end.failed{border-color:var(--bad)}
.end strong{color:var(--good);font-size:1.1rem}
.end.interrupted strong,.end.early strong{color:var(--wait)}
.end.diverged strong,.end.failed strong{color:var(--bad)}
pre{margin:.4em 0;padding:9px 12px;background:var(--box);border:1px solid var(--line);border-radius:6px;
font:.84rem/1.45 ui-monospace,SFMono-Regular,Menlo,Consolas,"Noto Sans Mono CJK SC",monospace;
white-space:pre-wrap;overflow-wrap:anywhere;unicode-bidi:plaintext}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:10px;margin:0}
.cards div{background:var(--box);border-radius:8px;padding:9px 12px}
.cards dt{color:var(--dim);font-size:.82rem}
.cards dd{margin:0;font-size:1.12rem;font-variant-numeric:tabular-nums}
.cards+.found{margin-top:10px}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,400px),1fr));gap:22px 26px}
figure{margin:0;min-width:0}
figcaption{font-weight:600;margin-bottom:2px}
.legend{display:inline-flex;flex-wrap:wrap;gap:2px 12px;margin-left:12px;font-weight:400;font-size:.84rem;
color:var(--dim)}
.legend i{display:inline-block;width:14px;height:3px;border-radius:2px;vertical-align:middle;margin-right:5px;
background:currentColor}
svg{display:block;width:100%;height:auto;overflow:visible}
.grid{stroke:var(--line);stroke-width:1}
.axis{stroke:var(--dim);stroke-width:1}
.tick,.unit,.word{font-size:12px;fill:var(--dim)}
.word{fill:var(--fg);paint-order:stroke;stroke:var(--bg);stroke-width:4px}
.c1{color:var(--c1)}.c2{color:var(--c2)}.c3{color:var(--c3)}
.line{fill:none;stroke:currentColor;stroke-width:2;stroke-linejoin:round}
.faint{opacity:.35;stroke-width:1.2}
.legend .faint{opacity:.45}
.dot,.bar{fill:currentColor}
.bar{color:var(--c1);opacity:.75}
.bar:hover{opacity:1}
.mark{stroke:currentColor;stroke-width:1.4;stroke-dasharray:4 3}
.hit{fill:transparent;stroke:none}
.hit:hover{fill:currentColor}
.sample{border:1px solid var(--line);border-radius:8px;padding:12px 14px;margin:0 0 14px}
.sample .three{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,230px),1fr));gap:8px 14px;
margin-top:8px}
.sample h3{color:var(--dim);font-size:.82rem;font-weight:600}
.found{list-style:none;padding:0;margin:0}
.found li{padding:8px 12px;margin-bottom:8px;border-left:4px solid var(--line);background:var(--box);
border-radius:0 6px 6px 0;overflow-wrap:anywhere}
.found .warning{border-color:var(--wait)}
.found .error{border-color:var(--bad)}
table{border-collapse:collapse;width:100%;font-size:.92rem}
td{padding:4px 10px 4px 0;border-bottom:1px solid var(--line);vertical-align:top;overflow-wrap:anywhere}
td:first-child{color:var(--dim);white-space:nowrap}
.right{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
summary{cursor:pointer;font-size:1.15rem;font-weight:600;margin:1.6em 0 .6em}
@media (max-width:520px){body{padding:16px 14px 40px;font-size:15px}td:first-child{white-space:normal}
.tick,.unit,.word{font-size:14px}}
@media print{details{display:block}.hit{display:none}}
"""
