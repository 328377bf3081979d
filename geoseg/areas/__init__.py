"""Areas of interest: the polygons of a vector file, and the pixels of a scene that they cover.

reading                                  which format a file has, and its polygons
shapes                                   polygons of vertices
geopackage, shapefile, flatgeobuf, ...   one module per format
placing                                  from polygons to edges on the lattice of pixels
hints                                    what may be wrong where an area and a scene do not meet
aoi                                      the mask
"""
