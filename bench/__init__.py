"""The benchmarks of dvlite beside DVC: what runs (`contests`), on what data (`workloads`), how it
is measured (`measure`, `tools`) and how it is told (`results`, `report`). Not part of the package.
"""
