"""The package `bridge`, made from the four folders of the root."""

from pathlib import Path

from setuptools import setup

FOLDERS = {
    "actors": ("chats", "inbox", "store", "outbound"),
    "ops": ("bench", "demo", "endurance", "migration", "model", "mutants", "simulator"),
}
RULES = (
    "channels",
    "channels/integrations",
    "chat",
    "chat/actions",
    "codecs",
    "codecs/liveagent",
    "codecs/salesforce",
    "settings",
)

# Import name → folder. The root holds four folders; `bridge` is the name of all of them.
PACKAGES = {
    "bridge": "bridge",
    **{f"bridge.{name.replace('/', '.')}": f"bridge/{name}" for name in RULES},
    "bridge.http": "http",
    **{f"bridge.{folder}": folder for folder in FOLDERS},
    **{f"bridge.{folder}.{name}": f"{folder}/{name}" for folder, names in FOLDERS.items() for name in names},
}

setup(
    name="bridge",
    version="0.1.0",
    description="A middleware between a bot's users and human agents in Salesforce",
    long_description=Path(__file__).with_name("README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    python_requires=">=3.11",
    packages=list(PACKAGES),
    package_dir=PACKAGES,
    package_data={
        "": ["*.html", "*.css", "*.js", "*.svg", "*.json"],
        "bridge": ["py.typed"],
        "bridge.actors.store": ["scripts/*.lua"],
    },
    include_package_data=False,
    zip_safe=False,
    entry_points={"console_scripts": ["bridge=bridge.ops.cli:main"]},
    install_requires=[
        "cronsim>=2.6",
        "fakeredis[lua]>=2.40",
        "falcon>=4.4",
        "gevent>=26.9",
        "gunicorn[gevent]>=26.1",
        "msgspec>=0.21",
        "pydantic>=2.14",
        "PyJWT[crypto]>=2.15",
        "pykka>=4.5,<5",
        "python-dotenv>=1.2",
        "redis>=8",
        "requests>=2.34",
        "rich>=15",
        "typer>=0.29",
        "tzdata",
        "urllib3>=2.6.3",
    ],
    extras_require={
        "test": [
            "hypothesis>=6.170",
            "pytest>=9",
            "pytest-timeout>=2.4",
            "pytest-xdist>=3.8",
            "responses>=0.26",
            "schemathesis>=4.30",
        ],
        "dev": ["mypy>=2.4", "ruff>=0.17", "types-requests>=2.33", "uv>=0.9"],
        "build": ["setuptools>=77"],
        "kafka": ["confluent-kafka>=2.16"],
    },
    # What a build leaves behind goes below ops/, so that the root stays as it is.
    options={
        "build": {"build_base": "ops/.build"},
        "egg_info": {"egg_base": "ops"},
        "sdist": {"dist_dir": "ops/.build/dist"},
        "bdist_wheel": {"dist_dir": "ops/.build/dist"},
    },
)
