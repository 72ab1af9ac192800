"""Broken recipes, overrides and flags."""

from __future__ import annotations

from tests.broken import Broken, Harm, both, directory, link, write

RECIPE = """\
name = "mine"
[model]
[task]
name = "countdown"
levels = [1, 2]
[sampling]
max_prompt_tokens = 24
max_response_tokens = 40
cache_tokens = 8192
[rl]
steps = 2
prompts_per_step = 4
samples_per_prompt = 2
minibatch_rollouts = 4
actor_learning_rate = 1e-4
critic_learning_rate = 1e-3
critic_warmup_steps = 1
microbatch_tokens = 2048
[evaluation]
problems = 6
"""
LONG = "x" * 5000


def of_file(title: str, content: str | bytes, names: str, fix: str) -> Broken:
    return Broken(title, ("run", "r.toml", "--out", "out"), names, fix, write("r.toml", content))


def changed(old: str, new: str) -> str:
    assert RECIPE.count(old) == 1, old
    return RECIPE.replace(old, new)


def override(setting: str, names: str, fix: str, title: str = "") -> Broken:
    command = ("run", "r.toml", "--out", "out", "--set", setting)
    return Broken(f"--set {title or setting}", command, names, fix, write("r.toml", RECIPE))


HARMLESS = write("r.toml", RECIPE)


def called(title: str, command: str, names: str, fix: str, harm: Harm = HARMLESS) -> Broken:
    return Broken(title, tuple(command.split()), names, fix, harm)


TOML = "write KEY = VALUE below .sections., in UTF-8"
SHIPPED = "give a TOML file or one of .*nano"

FILES = [
    of_file("an empty recipe", "", "name is missing; model is missing", "missing"),
    of_file("a recipe in UTF-16", RECIPE.encode("utf-16"), r"r\.toml: .*byte 0xff", TOML),
    of_file("a recipe in latin-1", f'description = "café"\n{RECIPE}'.encode("latin-1"), "byte 0xe9", TOML),
    of_file("a recipe that begins with NUL", "\0" + RECIPE, "line 1, column 1", TOML),
    of_file("a BOM inside a recipe", changed("[rl]", "\ufeff[rl]"), "line 10, column 1", TOML),
    of_file("a recipe in JSON", '{"name": "mine"}', r"r\.toml: not TOML", TOML),
    of_file("a recipe cut inside a text", changed('"mine"', '"mi'), "line 1", TOML),
    of_file("a key twice", changed("steps = 2", "steps = 2\nsteps = 3"), "line 12", TOML),
    of_file("a number of 5000 digits", changed("steps = 2", "steps = " + "1" * 5000), "4300 digits", TOML),
    of_file("arrays nested deeply", changed("steps = 2", "steps = " + "[" * 5000), "nested too deeply", TOML),
    of_file("an unknown section", RECIPE + "[rll]\nsteps = 1\n", "unknown key 'rll'", "known here: name"),
    of_file("an unknown key", changed("steps = 2", "stepps = 2"), "unknown key 'rl.stepps'", "known here: .*steps"),
    of_file("a section that is a number", "rl = 3\n" + RECIPE.partition("[rl]")[0], "rl = 3", "valid dictionary"),
    of_file("a section that is a list", changed("[evaluation]", "[[evaluation]]"), "evaluation = .{", "dictionary"),
    of_file("a missing section", RECIPE.partition("[rl]")[0], "rl is missing", "evaluation is missing"),
    of_file("text for a number", changed("steps = 2", 'steps = "two"'), "rl.steps = 'two'", "a valid integer"),
    of_file("a fraction for a whole number", changed("steps = 2", "steps = 2.5"), "rl.steps = 2.5", "valid integer"),
    of_file("true for a number", changed("steps = 2", "steps = true"), "rl.steps: true", "another kind of value"),
    of_file("a date for a number", changed("steps = 2", "steps = 2020-01-01"), "rl.steps = datetime.date", "integer"),
    of_file("a list of 20000 texts", changed("[1, 2]", str(["x"] * 20000)), "task.levels.4 = 'x'", "and 19996 more"),
    of_file("a value of 100 kB", changed("steps = 2", f'steps = "{LONG * 20}"'), "rl.steps = 'xx.* …", "valid integer"),
    of_file("a name that leads elsewhere", changed('"mine"', '"../../etc"'), r"'\.\./\.\./etc'", "match pattern"),
    of_file(
        "data in a NUL",
        changed('name = "countdown"', r'name = "data"' + '\ndata = "a\\u0000b.jsonl"').replace("levels = [1, 2]\n", ""),
        "a�b.jsonl: .*embedded null byte",
        "give another file",
    ),
]
PLACES = [
    called("a directory for a recipe", "run . --out out", "no recipe '.'", SHIPPED),
    called(
        "a directory named like a recipe", "run r.toml --out out", "no recipe 'r.toml'", SHIPPED, directory("r.toml")
    ),
    called("a recipe that links to itself", "run r.toml --out out", "no recipe", SHIPPED, link("r.toml", "r.toml")),
    called("a recipe of an endless name", f"run {LONG} --out out", "no recipe 'xxx", SHIPPED),
    called(
        "a recipe that the system won't read", "run /proc/self/mem --out out", "/proc/self/mem", "give another file"
    ),
    called("a file that is no recipe", "run ../../../../../../etc/passwd --out out", "passwd: not TOML", TOML),
    called("a recipe that is not there", "train nono --out out", "no recipe 'nono'", SHIPPED),
    called("a base model's recipe for a run", "run nano-base --out out", "nano-base.toml", "use `rlsp pretrain`"),
    called("a run's recipe for a base model", "pretrain nano --out out", "corpus is missing", "known here: .*corpus"),
    called("a run that is a file", "run r.toml --out r.toml", "r.toml is a file", "give another --out"),
    called("a run below a file", "run r.toml --out r.toml/x", "r.toml/x", "give another --out"),
    called("a run of an endless name", f"run r.toml --out {LONG}", "xxx.*too long", "give another --out"),
    called(
        "a run that links to itself",
        "run r.toml --out here",
        "here is a file",
        "give another --out",
        both(write("r.toml", RECIPE), link("here", "here")),
    ),
    called("a run where nothing can be written", "run r.toml --out /proc/mine", "/proc/mine", "give another --out"),
    called("a foreign directory for a run", "run r.toml --out . --overwrite", "manifest.json", "give another --out"),
    called("both to go on and to start over", "run r.toml --resume --overwrite", "--resume", "give one of them"),
    called(
        "results on a directory",
        "demos nano --out mine --overwrite",
        "mine is a directory",
        "give another --out",
        directory("mine"),
    ),
    called(
        "a model on a file", "pretrain nano-base --out r.toml --overwrite", "r.toml is no directory", "give another"
    ),
    called("results of an endless name", f"demos nano --out {LONG}", "xxx.*too long", "give another --out"),
]
OVERRIDES = [
    override("rl.steps=-1", "rl.steps = -1", "greater than 0"),
    override("rl.steps=0", "rl.steps = 0", "greater than 0"),
    override("rl.steps=1e400", "rl.steps = inf", "finite number"),
    override("rl.steps=1000000000000", "rl.steps = 1000000000000", "less than or equal to 1000000"),
    override("rl.actor_learning_rate=nan", "rl.actor_learning_rate = nan", "finite number"),
    override("rl.clip=-0.1", "rl.clip = -0.1", "greater than 0"),
    override("rl.algorithm=[]", r"rl.algorithm = \[\]", "should be 'ppo'"),
    override("rl.minibatch_rollouts=7", "minibatches of 7", "set rl.minibatch_rollouts to a divisor"),
    override("reward.alpha=2", "reward.alpha = 2", "less than or equal to 1"),
    override("reward.schedule.accuracies=[0.5, 0.5]", "accuracies", "give the lower one first"),
    override("seed=1000000000000000000000000000000", "seed = 1000", "less than 4294967296"),
    override("seed=-5", "seed = -5", "greater than or equal to 0"),
    override("sampling.temperature=1e-45", "sampling.temperature = 1e-45", "greater than or equal to 0.001"),
    override("evaluation.temperature=-1", "evaluation.temperature.*-1", "greater than or equal to 0.001"),
    override("sampling.max_response_tokens=1000000000000", "can't hold", "raise it"),
    override("evaluation.problems=1000000000000", "1000000000000 were asked for", "ask for fewer or add levels"),
    override("task.levels=[99]", "no level 99", r"it has \[1, 2, 3\]"),
    override("task.levels=[]", r"task.levels = \[\]", "at least 1 item"),
    override("task.name=chess", "task.name = 'chess'", "should be 'countdown'"),
    override("task.name=data", "task.data", "goes with task.name = 'data'"),
    override("model.instruction=hi", "model: instruction", r"must contain \{question\}"),
    override("model.lora={rank=1000000}", "model.lora.rank = 1000000", "lower it"),
    override("model.lora.targets=['nope']", "no linear layer 'nope'", "it has down_proj"),
    override("exploration=foo", "no exploration reward 'foo'", "there are length"),
    override("exploration.lenght={}", "unknown key 'exploration.lenght'", "known here: length"),
    override('exploration.behaviour.prices={"a\\n\\nb"="x"}', "prices", "a valid number"),
    override("rl.steps=" + "[" * 3000, r"rl.steps = '\[\[", "a valid integer", "rl.steps=[[[…"),
    override("rl.steps=" + "1" * 5000, "rl.steps = '111", "exceeded maximum size", "rl.steps=111…"),
    override("rl.steps=3\nrl.epochs=4", r"rl.steps = '3\\nrl.epochs=4'", "a valid integer", "two lines"),
    override("rl.steps", "'rl.steps'", "write it as section.key=value"),
    override("=3", "'=3'", "write it as section.key=value"),
    override("rl.steps.x=3", "'steps' is a value", "not a section"),
    override("name=../x", r"name = '\.\./x'", "match pattern"),
    override(".steps=3", "unknown key ''", "known here: name"),
]
PLANS = [
    called("a length that is no number", "reward plan nano --length nan --kl 0.1", "length of nan", "give a length"),
    called("a length beyond all", "reward plan nano --length 1e300 --kl 1e-300", "1e.300", "give a length"),
    called("a KL that is none", "reward plan nano --length 5 --kl inf", "KL of inf", "give a number"),
    called("a growth that is no number", "reward plan nano --length 5 --kl 0.1 --growth x", "x", "30%"),
]
CASES = [*FILES, *PLACES, *OVERRIDES, *PLANS]
