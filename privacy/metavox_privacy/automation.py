"""How to tell that no person is at work: the variables that build and test systems set.

Any of them, set to anything but an off word, means off, even after a yes: what a machine runs by itself is nobody's
use, and there is nobody to ask. A variable that a person's own shell or a running service has too (``VERCEL``,
``RENDER``, ``CODESPACES``, ``IN_NIX_SHELL``, ``HATCH_ENV_ACTIVE``) is not here: it says where, not who.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

AUTOMATION: Final[Mapping[str, str]] = MappingProxyType(
    {
        # What nearly all of them set.
        "CI": "most build systems",
        "CONTINUOUS_INTEGRATION": "Travis CI, Cirrus CI and others",
        "BUILD_ID": "Jenkins, Google Cloud Build and others",
        "BUILD_NUMBER": "Jenkins, TeamCity and others",
        "CI_APP_ID": "Appflow",
        "CI_BUILD_ID": "Codeship, GitLab CI's runners",
        "CI_BUILD_NUMBER": "Codeship, Xcode Cloud",
        "CI_NAME": "Codeship, SourceHut builds",
        "RUN_ID": "Taskcluster",
        # Build systems, each by its own.
        "AC_APPCIRCLE": "Appcircle",
        "AGOLA_GIT_REF": "Agola",
        "APPCENTER_BUILD_ID": "Visual Studio App Center",
        "APPVEYOR": "AppVeyor",
        "BITBUCKET_BUILD_NUMBER": "Bitbucket Pipelines",
        "BITBUCKET_COMMIT": "Bitbucket Pipelines",
        "BITRISE_IO": "Bitrise",
        "BUDDY_WORKSPACE_ID": "Buddy",
        "BUILDER_OUTPUT": "Google Cloud Build",
        "BUILDKITE": "Buildkite",
        "CF_BUILD_ID": "Codefresh",
        "CF_PAGES": "Cloudflare Pages",
        "CIRCLECI": "CircleCI",
        "CIRRUS_CI": "Cirrus CI",
        "CI_XCODE_PROJECT": "Xcode Cloud",
        "CM_BUILD_ID": "Codemagic",
        "CODEBUILD_BUILD_ARN": "AWS CodeBuild",
        "CODEBUILD_BUILD_ID": "AWS CodeBuild",
        "DISTELLI_APPNAME": "Puppet Pipelines",
        "DRONE": "Drone",
        "DSARI": "dsari",
        "EARTHLY_CI": "Earthly",
        "EAS_BUILD": "Expo Application Services",
        "FORGEJO_ACTIONS": "Forgejo Actions",
        "GERRIT_PROJECT": "Gerrit",
        "GITEA_ACTIONS": "Gitea Actions",
        "GITHUB_ACTIONS": "GitHub Actions",
        "GITLAB_CI": "GitLab CI",
        "GO_PIPELINE_LABEL": "GoCD",
        "HARNESS_BUILD_ID": "Harness",
        "HEROKU_TEST_RUN_ID": "Heroku CI",
        "HUDSON_URL": "Hudson",
        "JENKINS_HOME": "Jenkins",
        "JENKINS_URL": "Jenkins",
        "LAYERCI": "LayerCI",
        "MAGNUM": "Magnum CI",
        "NETLIFY": "Netlify",
        "NEVERCODE": "Nevercode",
        "NOW_BUILDER": "Vercel",
        "PROW_JOB_ID": "Prow",
        "RELEASE_BUILD_ID": "ReleaseHub",
        "SAILCI": "Sail CI",
        "SCREWDRIVER": "Screwdriver",
        "SEMAPHORE": "Semaphore",
        "SHIPPABLE": "Shippable",
        "STRIDER": "Strider CD",
        "SYSTEM_TEAMFOUNDATIONCOLLECTIONURI": "Azure Pipelines",
        "TASKCLUSTER_ROOT_URL": "Taskcluster",
        "TDDIUM": "Solano CI",
        "TEAMCITY_VERSION": "TeamCity",
        "TF_BUILD": "Azure Pipelines",
        "TRAVIS": "Travis CI",
        "VELA": "Vela",
        "WORKERS_CI": "Cloudflare Workers",
        "XCS": "Xcode Server",
        "bamboo_planKey": "Bamboo",
        # Tests.
        "ASV_ENV_NAME": "asv",
        "BAZEL_TEST": "Bazel",
        "COVERAGE_RUN": "Coverage.py",
        "NOX_CURRENT_SESSION": "nox",
        "PYTEST_CURRENT_TEST": "pytest",
        "PYTEST_VERSION": "pytest",
        "PYTEST_XDIST_WORKER": "pytest-xdist",
        "TEST_TMPDIR": "Bazel",
        "TOX_ENV_DIR": "tox",
        "TOX_ENV_NAME": "tox",
        # Builds of packages, documents and images.
        "CIBUILDWHEEL": "cibuildwheel",
        "CONDA_BUILD": "conda-build",
        "CONDA_BUILD_STATE": "conda-build",
        "DEB_BUILD_OPTIONS": "Debian's package build",
        "EBUILD_PHASE": "Gentoo's package build",
        "FLATPAK_BUILDER_BUILDDIR": "Flatpak",
        "NIX_ENFORCE_PURITY": "Nix's package build",
        "PEP517_BUILD_BACKEND": "Python's package build",
        "PIP_BUILD_TRACKER": "pip's package build",
        "READTHEDOCS": "Read the Docs",
        "RPM_BUILD_ROOT": "RPM's package build",
        "SNAPCRAFT_PART_NAME": "Snapcraft",
        "_PYPROJECT_HOOKS_BUILD_BACKEND": "Python's package build",
    }
)
"""Each variable, and who sets it."""

CI_VARIABLES: Final = tuple(AUTOMATION)
"""Their names alone."""
