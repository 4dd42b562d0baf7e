"""The benchmarks of dvlite beside DVC: what runs (`contests`, `s3contests`), on what data
(`workloads`, `histories`), against which remotes (`remotes`, `server`, `link`), how it is measured
(`rounds`, `measure`, `tools`) and how it is told (`results`, `goals`, `report`). Not part of the
package.
"""
