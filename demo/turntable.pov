// Five balls of metal and glass that turn on a floor of tiles; `clock` from 0 to 1 is once round.
#version 3.7;
global_settings { assumed_gamma 1 max_trace_level 6 }
background { srgb <0.3, 0.45, 0.7> }
camera { location <0, 2.6, -6.4> look_at <0, 0.55, 0> angle 46 right x*16/9 }
light_source { <6, 9, -7> rgb 1 }
light_source { <-8, 5, -2> rgb 0.35 shadowless }
plane { y, 0
  pigment { checker srgb <0.9, 0.86, 0.78>, srgb <0.2, 0.24, 0.3> }
  finish { reflection 0.12 }
}
#declare Colours = array[5] { <0.9, 0.2, 0.15>, <0.95, 0.6, 0.1>, <0.2, 0.65, 0.25>, <0.15, 0.4, 0.85>, <0.6, 0.25, 0.7> }
#declare Ball = 0;
#while (Ball < 5)
  sphere { <1.9, 0.55, 0>, 0.55
    pigment { srgb Colours[Ball] }
    finish { specular 0.7 roughness 0.02 reflection 0.25 }
    rotate y*72*(Ball + clock)
  }
  #declare Ball = Ball + 1;
#end
sphere { <0, 1, 0>, 1
  pigment { srgb <0.25, 0.27, 0.3> }
  finish { specular 0.9 roughness 0.01 reflection 0.75 }
}
