"""Conan 2 recipe of this checkout: `conan create tools/packaging/conan` from the top folder."""
import re
from pathlib import Path

from conan import ConanFile
from conan.tools.files import copy
from conan.tools.gnu import PkgConfigDeps
from conan.tools.layout import basic_layout
from conan.tools.meson import Meson, MesonToolchain

top = Path(__file__).resolve().parents[3]


class Yoke(ConanFile):
    name = "yoke"
    license = "MIT"
    description = "Worker processes as easy to use as a thread pool"
    package_type = "library"
    settings = "os", "arch", "compiler", "build_type"
    options = {"shared": [True, False]}
    default_options = {"shared": True}
    requires = "boost/[>=1.74]", "libbacktrace/[*]"
    tool_requires = "meson/[>=1.0]", "pkgconf/[*]"

    def set_version(self):  # it stands in one place
        self.version = re.search(r"version: '([^']+)'", (top / "meson.build").read_text()).group(1)

    def requirements(self):
        self.requires("fmt/[>=9]", transitive_headers=False)
        self.requires("msgpack-cxx/[>=4]", transitive_headers=True)
        for of_the_command in ("cli11/[>=2.1]", "nlohmann_json/[>=3.10]"):
            self.requires(of_the_command, visible=False)

    def export_sources(self):
        for part in ("meson.build", "meson_options.txt", "LICENSE", "include/*", "lib/*", "tools/*"):
            copy(self, part, src=top, dst=self.export_sources_folder)

    def layout(self):
        basic_layout(self)

    def generate(self):
        toolchain = MesonToolchain(self)
        toolchain.project_options.update(tests="disabled", benchmarks="disabled")
        toolchain.generate()
        PkgConfigDeps(self).generate()

    def build(self):
        meson = Meson(self)
        meson.configure()
        meson.build()

    def package(self):
        Meson(self).install()

    def package_info(self):
        self.cpp_info.libs = ["yoke"]
        self.cpp_info.system_libs = ["pthread", "dl"]
        self.cpp_info.set_property("cmake_target_name", "yoke::yoke")
        self.cpp_info.set_property("pkg_config_name", "yoke")
